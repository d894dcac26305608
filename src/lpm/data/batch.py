"""Clips of equal length -> one ``Batch``."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from lpm.data.window import Clip
from lpm.types import Batch, References


def collate(clips: Sequence[Clip]) -> Batch:
    """Stack clips; references are padded to the longest row, at least one, and masked.

    Raises:
        ValueError: if the clips differ in frame rate or size.
    """
    rates = sorted({clip.fps for clip in clips})
    if len(rates) != 1:
        raise ValueError(f"a batch cannot mix {rates} frames a second; set fps of the cut to one of them")
    names = [name for name in clips[0].truth if all(name in clip.truth for clip in clips)]
    video = _stack([clip.video_THWC for clip in clips], "video")
    latents = _stack([clip.latents_TCYX for clip in clips], "latents")
    losers = _stack([clip.loser_TCYX for clip in clips], "latents of losers")
    points = _stack([clip.points_STCYX for clip in clips], "points of trajectories")
    return Batch(
        keys=[clip.key for clip in clips],
        fps=rates[0],
        speak_BS=torch.from_numpy(np.stack([clip.speak_S for clip in clips])),
        listen_BS=torch.from_numpy(np.stack([clip.listen_S for clip in clips])),
        history=clips[0].history,
        text=[clip.text for clip in clips],
        state_BT=torch.from_numpy(np.stack([clip.state_T for clip in clips]).astype(np.int64)),
        references=collate_references(clips),
        video_BTCHW=None if video is None else to_unit(video),
        latents_BTCYX=None if latents is None else latents.float(),
        truth={name: torch.from_numpy(np.stack([clip.truth[name] for clip in clips])) for name in names},
        meta=[clip.meta for clip in clips],
        given_B=torch.tensor([clip.given for clip in clips]),
        loser_BTCYX=None if losers is None else losers.float(),
        points_BSTCYX=None if points is None else points.float(),
    )


def collate_references(clips: Sequence[Clip]) -> References:
    """Pad the clips' references (R,) to (B, R)."""
    longest = max(1, *(len(clip.kind_R) for clip in clips))
    mask = np.stack([np.arange(longest) < len(clip.kind_R) for clip in clips])
    pixels = _stack([_padded(clip.reference_RHWC, longest) for clip in clips], "reference images")
    latents = _stack([_padded(clip.reference_RCYX, longest) for clip in clips], "reference latents")
    return References(
        kind_BR=torch.from_numpy(np.stack([_pad(clip.kind_R, longest) for clip in clips])),
        sub_kind_BR=torch.from_numpy(np.stack([_pad(clip.sub_kind_R, longest) for clip in clips])),
        mask_BR=torch.from_numpy(mask),
        pixels_BRCHW=None if pixels is None else to_unit(pixels),
        latents_BRCYX=None if latents is None else latents.float(),
    )


def to_unit(pixels: Tensor) -> Tensor:
    """Turn uint8 (..., H, W, 3) into float32 (..., 3, H, W) in [-1, 1]."""
    return pixels.movedim(-1, -3).float().div_(127.5).sub_(1)


def _stack(arrays: Sequence[np.ndarray | None], name: str) -> Tensor | None:
    given = [array for array in arrays if array is not None]
    if not given:
        return None
    shapes = sorted({array.shape for array in given})
    if len(shapes) != 1 or len(given) != len(arrays):
        raise ValueError(f"a batch cannot mix {name} of shapes {shapes}; give every clip the same size")
    return torch.from_numpy(np.stack(given))


def _padded(array: np.ndarray | None, length: int) -> np.ndarray | None:
    return None if array is None else _pad(array, length)


def _pad(array: np.ndarray, length: int) -> np.ndarray:
    return np.pad(array, [(0, length - len(array)), *[(0, 0)] * (array.ndim - 1)])
