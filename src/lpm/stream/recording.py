"""Writing a show as it is performed, and its log."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import Empty, Full, Queue
from threading import Event, Thread, Timer

from lpm.stream.clock import Clock, Playout
from lpm.stream.events import EventLog, Log
from lpm.stream.show import Clip, Show
from lpm.stream.sinks import Sink, open_sink

PATIENCE = 1.0  # seconds that we wait for the reader of a pipe before we do what goes without it


def broadcast(clips: Iterable[Clip], show: Show, ahead: int) -> int:
    """Write the clips of a show to its output and its log; return the number of frames.

    Where the output waits for its reader longer than ``PATIENCE``, the pipes of the voices are opened meanwhile: the
    reader may wait for that.

    Args:
        clips: of ``perform``, made as they are taken.
        ahead: frames of a show in real time that may wait to be shown.

    Raises:
        ValueError: the show has no output.
    """
    if show.output is None:
        raise ValueError("the show has no output; give it one, or take its clips by hand")
    fps, meanwhile = show.opening.fps, Timer(PATIENCE, show.open)
    meanwhile.start()
    try:
        with logged(show), open_sink(show.output, fps) as sink:
            meanwhile.cancel()
            if show.realtime:
                return send_paced(clips, sink, show.log, show.clock, fps, ahead)
            return send(clips, sink, show.log)
    finally:
        meanwhile.cancel()
        show.close()


@contextmanager
def logged(show: Show) -> Iterator[None]:
    """Write the show's log into a file that gets its name when the show ends, well or not."""
    if show.log_file is None:
        yield
        return
    path: Path = show.log_file
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    with part.open("w") as file:
        show.log = EventLog(file, show.clock)
        try:
            yield
        finally:
            file.flush()
            part.replace(path)


def send(clips: Iterable[Clip], sink: Sink, log: Log) -> int:
    """Write clips as fast as the sink takes them; return the number of frames."""
    frames = 0
    for clip in clips:
        for frame in clip.each():
            write_frame(frame, sink, log)
            frames += 1
    return frames


def send_paced(clips: Iterable[Clip], sink: Sink, log: Log, clock: Clock, fps: float, ahead: int) -> int:
    """Write clips at the pace of the clock, from a thread of its own; return the number of frames.

    Where clips end by an error or an interruption, the frames that wait are still shown, unless the sink takes none for
    ``PATIENCE``.

    Args:
        ahead: frames that may wait to be shown; whoever makes more is held up, so that a stream never runs far ahead.
    """
    waiting: Queue[Clip | None] = Queue(ahead)
    playout, failed, faults = Playout(fps, clock), Event(), list[BaseException]()

    def show() -> None:
        while (frame := waiting.get()) is not None:
            if failed.is_set():
                continue  # empty the queue, so that nobody waits for room
            try:
                playout.wait()
                write_frame(frame, sink, log)
            except BaseException as fault:
                faults.append(fault)
                failed.set()

    thread, frames = Thread(target=show, daemon=True), 0
    thread.start()
    try:
        for clip in clips:
            for frame in clip.each():
                if failed.is_set():
                    break
                waiting.put(frame)
                frames += 1
            if failed.is_set():
                break
        waiting.put(None)
        thread.join()
    except BaseException:
        end_soon(waiting, thread, failed, ahead / fps)
        raise
    if faults:
        raise faults[0]
    return frames


def end_soon(waiting: Queue[Clip | None], thread: Thread, failed: Event, seconds: float) -> None:
    """End the thread that shows frames: in so many seconds those that wait are shown, else they are given up."""
    with suppress(Full):
        waiting.put(None, timeout=PATIENCE)
        thread.join(seconds + PATIENCE)
    if thread.is_alive():  # its reader takes nothing; if it ever does, the thread ends
        failed.set()
        with suppress(Empty):
            while True:
                waiting.get_nowait()
        waiting.put(None)
        thread.join(PATIENCE)


def write_frame(frame: Clip, sink: Sink, log: Log) -> None:
    """Write one frame with its sound, and note it."""
    sink.write(frame.pictures_THWC[0], frame.sound_S)
    log.add("frame_out", {"pts": frame.first})
    if len(frame.sound_S):
        log.add("audio_out", {"pts": frame.first_sample, "n": len(frame.sound_S)})
