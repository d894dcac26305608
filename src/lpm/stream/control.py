"""What is said to a stream while it runs: another prompt, another guidance, an interruption, the end."""

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Protocol

from lpm.stream.sources import is_pipe
from lpm.stream.stages import check_scales


@dataclass(frozen=True)
class Cue:
    """A change that takes effect with the first chunk that begins afterwards.

    Attributes:
        at: seconds of video before which it waits; 0 is as soon as possible.
        text: the prompt from then on.
        guidance: scales by stream from then on.
        interrupt: the character falls silent; what it was still to say is forgotten.
        stop: the stream ends.
    """

    at: float = 0.0
    text: str | None = None
    guidance: dict[str, float] | None = None
    interrupt: bool = False
    stop: bool = False


KINDS = {"at": (int, float), "text": str, "guidance": dict, "interrupt": bool, "stop": bool}


def parse_cue(line: str) -> Cue:
    """Read a cue from a line of JSON.

    >>> parse_cue('{"at": 2, "text": "she smiles"}').text
    'she smiles'
    """
    try:
        found = json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f'cue {line!r} is no JSON ({error.msg}); write such as {{"text": "she smiles"}}') from error
    names = [field.name for field in fields(Cue)]
    if not isinstance(found, dict) or set(found) - set(names):
        raise ValueError(f"cue {line!r} is no object of {', '.join(names)}")
    for name, value in found.items():
        if not isinstance(value, KINDS[name]):  # type: ignore[arg-type]
            raise ValueError(f"cue {line!r}: {name} of {value!r} has the wrong type")
    check_scales(found.get("guidance", {}))
    return Cue(**found)


class Cues(Protocol):
    """Gives cues when they are due."""

    def due(self, seconds: float) -> Iterator[Cue]:
        """Yield the cues for a chunk that begins at this time of the video."""
        ...


class CueList:
    """Cues that are known beforehand."""

    def __init__(self, cues: list[Cue] | None = None) -> None:
        self.cues = sorted(cues or [], key=lambda cue: cue.at)

    def due(self, seconds: float) -> Iterator[Cue]:
        """Yield the cues up to this time."""
        while self.cues and self.cues[0].at <= seconds + 1e-9:
            yield self.cues.pop(0)


class CuePipe:
    """Cues that come in, one a line, through a named pipe; a line that is no cue is reported and left out."""

    def __init__(self, path: Path) -> None:
        self.path, self.lines, self.later = path, SimpleQueue[str](), CueList()
        Thread(target=self._read, daemon=True).start()

    def due(self, seconds: float) -> Iterator[Cue]:
        """Yield the cues that have come in and are due."""
        try:
            while True:
                self._take(self.lines.get_nowait())
        except Empty:
            yield from self.later.due(seconds)

    def _take(self, line: str) -> None:
        try:
            self.later = CueList([*self.later.cues, parse_cue(line)])
        except ValueError as error:
            print(f"error: {error}", file=sys.stderr)

    def _read(self) -> None:
        with self.path.open() as file:
            for line in file:
                if line.strip():
                    self.lines.put(line.strip())


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
    return CueList([parse_cue(line) for line in path.read_text().splitlines() if line.strip()])
