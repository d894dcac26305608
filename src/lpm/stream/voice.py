"""Takes a voice from its source as far as a chunk needs it, and keeps its sound until the picture comes out."""

from dataclasses import dataclass, field

import numpy as np
import torch

from lpm.stream.ear import Ear
from lpm.stream.sources import Source
from lpm.types import SAMPLE_RATE

SPARE = SAMPLE_RATE // 5  # samples of a live voice that may wait: they come in pieces, not evenly


@dataclass
class Voice:
    """One voice of a show.

    Attributes:
        name: speak or listen.
        source: where it comes from; silence for ever if None.
        ear: where it goes; None where the network does not listen to it.
        given: samples passed on so far, silence between and after the source's included.
        real: samples up to the last one of the source's.
        pieces: pieces passed on so far.
        owed: samples of silence in the place of samples that may still come.
        sound_S: samples that were passed on and have not sounded.
    """

    name: str
    source: Source | None
    ear: Ear | None
    given: int = 0
    real: int = 0
    pieces: int = 0
    owed: int = 0
    sound_S: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))

    def drop_late(self, due: int) -> int:
        """Drop what came too late, where ``due`` samples' time has passed since the last one given; return how many.

        Silence between the samples took the place of some that may be late. When more wait than are due and ``SPARE``,
        they were, and every later one would be heard late, too. Silence before the first sample took nobody's place:
        what is sent all at once is heard whole.
        """
        if self.source is None:
            return 0
        late = max(0, min(self.owed, self.source.waiting() - due - SPARE))
        self.owed -= len(self.source.take(late))
        return late

    def pass_on(self, count: int) -> int:
        """Pass on ``count`` samples, silence where the source has none; return how many came from the source."""
        taken = np.zeros(0, np.float32) if self.source is None else self.source.take(count)
        if self.real:
            self.owed += count - len(taken)
        if len(taken):
            self.real = self.given + len(taken)
        samples = np.pad(taken, (0, count - len(taken)))
        if self.ear is not None:
            self.ear.push(torch.from_numpy(samples)[None])
        self.sound_S, self.given, self.pieces = (
            np.concatenate([self.sound_S, samples]),
            self.given + count,
            self.pieces + 1,
        )
        return len(taken)

    def sound(self, count: int) -> np.ndarray:
        """Return the next samples that sound, and forget them."""
        heard, self.sound_S = self.sound_S[:count], self.sound_S[count:]
        return heard

    def interrupt(self) -> None:
        """Forget what no chunk has heard: in the source, the ear and the sound to come."""
        if self.source is not None:
            self.source.clear()
        if self.ear is not None:
            unheard = self.ear.waiting_BS.shape[1]
            self.ear.waiting_BS = torch.zeros_like(self.ear.waiting_BS)
            self.sound_S[len(self.sound_S) - min(unheard, len(self.sound_S)) :] = 0

    def end(self) -> int | None:
        """Return the samples from the first to the source's last one; None while more may come."""
        return self.real if self.source is None or self.source.ended() else None
