"""Time: whose clock a stream follows, and when its frames are shown."""

from __future__ import annotations

import time
from collections.abc import Iterable
from queue import Queue
from threading import Event, Thread
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from lpm.stream.events import Log
    from lpm.stream.show import Clip
    from lpm.stream.sinks import Sink

SECOND = 1_000_000_000


class Clock(Protocol):
    """A monotonic clock, in nanoseconds."""

    def now(self) -> int:
        """Return the time."""
        ...

    def wait_until(self, moment: int) -> None:
        """Return at or after the moment."""
        ...


class WallClock:
    """The computer's clock."""

    def now(self) -> int:
        """Return the time."""
        return time.monotonic_ns()

    def wait_until(self, moment: int) -> None:
        """Sleep until the moment."""
        while (left := moment - self.now()) > 0:
            time.sleep(left / SECOND)


class Playout:
    """Shows frame after frame, one each 1 / fps seconds from the first one on.

    A frame that comes more than one frame late moves all later ones: the picture stood still meanwhile, and goes on at
    its pace. Smaller delays are caught up.
    """

    def __init__(self, fps: float, clock: Clock) -> None:
        self.period, self.clock, self.due = SECOND / fps, clock, 0.0

    def wait(self) -> None:
        """Wait until the frame at hand is due."""
        now = self.clock.now()
        if now > self.due + self.period:
            self.due = float(now)
        self.clock.wait_until(int(self.due))
        self.due += self.period


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
    finally:
        waiting.put(None)
        thread.join()
    if faults:
        raise faults[0]
    return frames


def write_frame(frame: Clip, sink: Sink, log: Log) -> None:
    """Write one frame with its sound, and note it."""
    sink.write(frame.pictures_THWC[0], frame.sound_S)
    log.add("frame_out", {"pts": frame.first})
    if len(frame.sound_S):
        log.add("audio_out", {"pts": frame.first_sample, "n": len(frame.sound_S)})
