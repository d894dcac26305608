"""What people look at: strips of frames. Pictures between NumPy and the networks come from ``lpm.codec``."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from torch import Tensor

from lpm.codec import to_pixels, to_uint8

__all__ = ["strip", "to_frames", "to_pixels", "to_uint8"]


def to_frames(pieces: Iterable[Tensor], row: int = 0) -> Iterator[np.ndarray]:
    """Yield the frames, uint8 (H, W, 3), of one row of a video that comes in pieces (B, T, 3, H, W)."""
    for piece in pieces:
        yield from to_uint8(piece[row])


def strip(videos: Sequence[np.ndarray], count: int = 12) -> np.ndarray:
    """Return ``count`` evenly spaced frames of each video side by side, one row per video, uint8 (rows H, count W, 3).

    >>> strip([np.zeros((25, 8, 8, 3), np.uint8)], count=4).shape
    (8, 32, 3)
    """
    rows = []
    for video_THWC in videos:
        picks = np.linspace(0, len(video_THWC) - 1, count).round().astype(int)
        rows.append(np.concatenate(list(video_THWC[picks]), axis=1))
    return np.concatenate(rows, axis=0)
