"""One chunk on its way through the stages."""

from dataclasses import dataclass

from torch import Tensor

from lpm.types import Conditions


@dataclass(frozen=True)
class Work:
    """One chunk on its way through the stages.

    Attributes:
        chunk: its number.
        conditions: as they were when the chunk began, its time counted from the last video frame before it.
        scales: guidance, likewise.
        latents_BTCYX: in the space where noise is added; None before the generator.
        video_BTCHW: pixels in [-1, 1]; None before the decoder.
    """

    chunk: int
    conditions: Conditions
    scales: dict[str, float]
    latents_BTCYX: Tensor | None = None
    video_BTCHW: Tensor | None = None
