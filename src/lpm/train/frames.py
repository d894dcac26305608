"""Pictures between NumPy (uint8, channels last) and the networks (float, channels first, [-1, 1]), and what
people look at.
"""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor


def to_uint8(video_TCHW: Tensor) -> np.ndarray:
    """Return pixels (..., 3, H, W) in [-1, 1] as uint8 (..., H, W, 3).

    >>> to_uint8(torch.ones(2, 3, 4, 4)).shape
    (2, 4, 4, 3)
    """
    return ((video_TCHW.detach().cpu().clamp(-1, 1) + 1) * 127.5).round().byte().movedim(-3, -1).numpy()


def to_frames(pieces: Iterable[Tensor], row: int = 0) -> Iterator[np.ndarray]:
    """Yield the frames, uint8 (H, W, 3), of one row of a video that comes in pieces (B, T, 3, H, W)."""
    for piece in pieces:
        yield from to_uint8(piece[row])


def to_pixels(frames_THWC: np.ndarray) -> Tensor:
    """Return uint8 frames (..., H, W, 3) as float (..., 3, H, W) in [-1, 1]."""
    return torch.from_numpy(frames_THWC.astype(np.float32)).movedim(-1, -3) / 127.5 - 1


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
