"""What comes out of a stream with one chunk."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Piece:
    """What comes out of a stream with one chunk.

    Attributes:
        chunk: its number.
        frames: numbers of its video frames.
        video_BTCHW: pixels in [-1, 1].
    """

    chunk: int
    frames: range
    video_BTCHW: Tensor
