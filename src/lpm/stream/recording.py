"""Writing a show as it is performed, and its log."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from lpm.stream.clock import send, send_paced
from lpm.stream.events import EventLog
from lpm.stream.show import Clip, Show
from lpm.stream.sinks import open_sink


def broadcast(clips: Iterable[Clip], show: Show, ahead: int) -> int:
    """Write the clips of a show to its output and its log; return the number of frames.

    Args:
        clips: of ``perform``, made as they are taken.
        ahead: frames of a show in real time that may wait to be shown.

    Raises:
        ValueError: the show has no output.
    """
    if show.output is None:
        raise ValueError("the show has no output; give it one, or take its clips by hand")
    fps = show.opening.fps
    with logged(show), open_sink(show.output, fps) as sink:
        if show.realtime:
            return send_paced(clips, sink, show.log, show.clock, fps, ahead)
        return send(clips, sink, show.log)


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
