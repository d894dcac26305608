"""Pictures between NumPy (uint8, channels last) and the networks (float, channels first, [-1, 1])."""

import numpy as np
import torch
from torch import Tensor


def to_uint8(video_TCHW: Tensor) -> np.ndarray:
    """Return pixels (..., 3, H, W) in [-1, 1] as uint8 (..., H, W, 3).

    >>> to_uint8(torch.ones(2, 3, 4, 4)).shape
    (2, 4, 4, 3)
    """
    return ((video_TCHW.detach().cpu().clamp(-1, 1) + 1) * 127.5).round().byte().movedim(-3, -1).numpy()


def to_pixels(frames_THWC: np.ndarray) -> Tensor:
    """Return uint8 frames (..., H, W, 3) as float (..., 3, H, W) in [-1, 1]."""
    return torch.from_numpy(frames_THWC.astype(np.float32)).movedim(-1, -3) / 127.5 - 1
