"""A show: what a stream begins with, where its voices come from, and what is said to it while it runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from lpm.stream.clock import Clock, WallClock
from lpm.stream.control import CueList, Cues
from lpm.stream.events import Log, NoLog
from lpm.stream.session import Opening
from lpm.stream.sources import Source
from lpm.types import SAMPLE_RATE


@dataclass
class Show:
    """One stream to perform, of one character.

    Attributes:
        opening: what it begins with, a batch of one.
        speak: the character's voice.
        listen: the partner's voice.
        seconds: length; until both voices have ended if None.
        cues: what is said to it.
        realtime: no chunk begins before the clock has reached the end of what it hears, and what comes late from the
            partner is dropped.
        clock: whose time the log and ``realtime`` follow.
        log: of what happens.
        output: where it is written, see ``open_sink``; None where its clips are taken by hand.
        log_file: where the log is written, if it is.
        cache_bytes: how much its stream remembers; 0 before the first chunk.
    """

    opening: Opening
    speak: Source | None = None
    listen: Source | None = None
    seconds: float | None = None
    cues: Cues = field(default_factory=CueList)
    realtime: bool = False
    clock: Clock = field(default_factory=WallClock)
    log: Log = field(default_factory=NoLog)
    output: Path | None = None
    log_file: Path | None = None
    cache_bytes: int = 0

    def __post_init__(self) -> None:
        """Raise ValueError for a seed that no noise can be drawn from."""
        if self.opening.seed < 0:
            raise ValueError(f"seed of {self.opening.seed} is negative; choose 0 or more")

    def open(self) -> None:
        """Let in who writes the voices; nothing is read yet."""
        for source in self._sources():
            source.open()

    def begin(self) -> None:
        """Let the voices come in."""
        for source in self._sources():
            source.begin()

    def close(self) -> None:
        """End voices and cues: nobody hears them any more."""
        for source in self._sources():
            source.close()
        self.cues.close()

    def _sources(self) -> list[Source]:
        return [source for source in (self.speak, self.listen) if source is not None]


@dataclass(frozen=True)
class Clip:
    """Frames that came out together, with their sound.

    Attributes:
        first: number of the first frame.
        first_sample: number of the first sample, counted from video frame 0.
        pictures_THWC: RGB uint8.
        sound_S: both voices, in [-1, 1].
        fps: frames a second.
    """

    first: int
    first_sample: int
    pictures_THWC: np.ndarray
    sound_S: np.ndarray
    fps: float

    def each(self) -> Iterator[Clip]:
        """Yield every frame as a clip of its own."""
        for i, picture_HWC in enumerate(self.pictures_THWC):
            begin, end = (round((self.first + i + k) * SAMPLE_RATE / self.fps) for k in (0, 1))
            sound_S = self.sound_S[begin - self.first_sample : end - self.first_sample]
            yield Clip(self.first + i, begin, picture_HWC[None], sound_S, self.fps)
