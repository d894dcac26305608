"""What stages 2 to 4 have in common: the student makes a clip, of which a part is judged."""

from typing import Protocol

from torch import Tensor

from lpm.distill.chance import Chance
from lpm.distill.clip import StudentClip, causal_backbone, last_window
from lpm.sample import PerformanceModel
from lpm.types import Conditions


class Stage(Protocol):
    """How a student makes clips in training."""

    def begin(self, model: PerformanceModel) -> None:
        """Take the model, which holds the starting weights at this moment."""
        ...

    def forward(
        self, model: PerformanceModel, latents_BTCYX: Tensor, conditions: Conditions, fps: float, chance: Chance
    ) -> StudentClip:
        """Return a clip that the model made for the conditions of a teacher's clip, whose codec latents are given."""
        ...


class Judged:
    """Which part of a clip is judged: its last chunks, as far as a teacher of short clips sees.

    Clips get a random length first, so that every chunk is the last one at times. Chunks before the judged ones carry
    no gradient: their memory is constant, however long the roll-out, unless gradients go through the history.

    Args:
        chunks: at the end of a clip; None judges whole clips.
        given: latent frames before them that the teacher sees; as many as in its training.
        shortest: chunks of the shortest clip.
    """

    def __init__(self, chunks: int | None = 1, given: int = 2, shortest: int = 1) -> None:
        if (chunks is not None and chunks < 1) or given < 0 or shortest < 1:
            raise ValueError(
                f"judged chunks {chunks}, given frames {given}, shortest clip {shortest}; chunks and shortest clip are "
                "1 or more, given frames 0 or more"
            )
        self.chunks, self.given, self.shortest = chunks, given, shortest

    def draw(self, most: int, chance: Chance) -> tuple[int, int]:
        """Return a clip's chunks, and how many of them at its end are judged."""
        if self.shortest > most:
            raise ValueError(f"shortest clip of {self.shortest} chunks, but the data have {most}; lengthen the data")
        chunks = chance.number(self.shortest, most + 1)
        return chunks, min(chunks, self.chunks or chunks)

    def window(
        self, model: PerformanceModel, path_BTCYX: Tensor, judged: int, conditions: Conditions, fps: float
    ) -> StudentClip:
        """Return what is judged of a clip in the space where noise is added."""
        clip, chunk = model.coordinates.leave(path_BTCYX), causal_backbone(model).chunk
        return last_window(clip, conditions, judged * chunk, self.given, model.codec.stride_t / fps)
