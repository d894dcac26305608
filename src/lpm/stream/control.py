"""What is said to a stream while it runs: another prompt, another guidance, an interruption, the end."""

import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Protocol

from lpm.stream.sources import is_pipe
from lpm.stream.stages import check_scales, is_finite


@dataclass(frozen=True)
class Cue:
    """A change that takes effect with the first chunk that begins afterwards.

    Attributes:
        at: seconds of video before which it waits; 0 is as soon as possible.
        text: the prompt from then on.
        guidance: scales by stream from then on; streams that it leaves out are guided as the weights do by themselves.
        interrupt: the character falls silent; what it was still to say is forgotten.
        stop: the stream ends.
    """

    at: float = 0.0
    text: str | None = None
    guidance: dict[str, float] | None = None
    interrupt: bool = False
    stop: bool = False


KINDS = {"text": str, "guidance": dict, "interrupt": bool, "stop": bool}
PAUSE = 0.05  # seconds until a pipe that nobody writes is looked at again


def parse_cue(line: str) -> Cue:
    """Read a cue from a line of JSON.

    Raises:
        ValueError: the line is no cue, or ``at`` or a guidance in it is no finite number.

    >>> parse_cue('{"at": 2, "text": "she smiles"}').text
    'she smiles'
    """
    try:
        found = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ValueError(f'cue {line[:80]!r} is no JSON ({error}); write such as {{"text": "she smiles"}}') from error
    names = [field.name for field in fields(Cue)]
    if not isinstance(found, dict) or set(found) - set(names):
        raise ValueError(f"cue {line[:80]!r} is no object of {', '.join(names)}")
    for name, kind in KINDS.items():
        if name in found and not isinstance(found[name], kind):
            raise ValueError(f"cue {line[:80]!r}: {name} of {found[name]!r} has the wrong type")
    if not is_finite(at := found.get("at", 0)):
        raise ValueError(f"cue {line[:80]!r}: at of {at!r} is no finite number")
    try:
        check_scales(found.get("guidance", {}))
    except ValueError as error:
        raise ValueError(f"cue {line[:80]!r}: {error}") from error
    return Cue(**found)


def read_cue(line: bytes) -> Cue:
    """Read a cue from a line of a file or pipe; ValueError, see ``parse_cue``, also where it is no UTF-8."""
    try:
        return parse_cue(line.decode())
    except UnicodeDecodeError as error:
        raise ValueError(f"cue {line[:80]!r} is no UTF-8 ({error.reason}); write it in UTF-8") from error


def report(error: ValueError) -> None:
    """Tell of a cue that is left out."""
    print(f"error: {error}", file=sys.stderr)


class Cues(Protocol):
    """Gives cues when they are due."""

    def known(self) -> list[Cue]:
        """Return the cues that are known before the stream begins."""
        ...

    def due(self, seconds: float) -> Iterator[Cue]:
        """Yield the cues for a chunk that begins at this time of the video."""
        ...

    def close(self) -> None:
        """End them: nobody asks for another cue."""
        ...


class CueList:
    """Cues that are known beforehand."""

    def __init__(self, cues: list[Cue] | None = None) -> None:
        self.cues = sorted(cues or [], key=lambda cue: cue.at)

    def known(self) -> list[Cue]:
        """Return the cues that are not due yet."""
        return self.cues

    def due(self, seconds: float) -> Iterator[Cue]:
        """Yield the cues up to this time."""
        while self.cues and self.cues[0].at <= seconds + 1e-9:
            yield self.cues.pop(0)

    def close(self) -> None:
        """Do nothing: nothing is open."""


class CuePipe:
    """Cues that come in, one a line, through a named pipe, from any number of writers one after the other.

    A line that is no cue is reported and left out.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.lines, self.later, self.closed = path, SimpleQueue[bytes](), CueList(), False
        Thread(target=self._read, daemon=True).start()

    def known(self) -> list[Cue]:
        """Return none: they come while the stream runs."""
        return []

    def due(self, seconds: float) -> Iterator[Cue]:
        """Yield the cues that have come in and are due."""
        try:
            while True:
                self._take(self.lines.get_nowait())
        except Empty:
            yield from self.later.due(seconds)

    def close(self) -> None:
        """Read no more lines."""
        self.closed = True

    def _take(self, line: bytes) -> None:
        try:
            self.later = CueList([*self.later.cues, read_cue(line)])
        except ValueError as error:
            report(error)

    def _read(self) -> None:
        with self.path.open("rb") as file:
            while not self.closed:  # never opened anew, which could lose what the next writer has written meanwhile
                line = file.readline()
                if line.strip():
                    self.lines.put(line.strip())
                elif not line:  # nobody writes
                    time.sleep(PAUSE)


def open_cues(path: Path | None) -> Cues:
    """Return the cues of a file, one a line, or of a named pipe.

    Raises:
        ValueError: no such file, or a line of it is no cue.
    """
    if path is None:
        return CueList()
    if is_pipe(path):
        return CuePipe(path)
    if not path.is_file():
        raise ValueError(f"control file {path} is missing; give JSON lines or a named pipe")
    return CueList([read_cue(line.strip()) for line in path.read_bytes().splitlines() if line.strip()])
