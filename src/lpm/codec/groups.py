"""Frames <-> groups: the first frame alone, then one group per ``stride`` frames, stacked on channels; joining them."""

from __future__ import annotations

import torch
from einops import rearrange, repeat
from torch import Tensor


def still_groups(frames_NCHW: Tensor, stride: int) -> Tensor:
    """Return each frame as the group of a character that holds still, (N, stride * C, H, W)."""
    return repeat(frames_NCHW, "n c h w -> n (s c) h w", s=stride)


def moving_groups(video_BTCHW: Tensor, stride: int) -> Tensor:
    """Stack every ``stride`` frames on the channels, (B, T / stride, stride * C, H, W)."""
    return rearrange(video_BTCHW, "b (n s) c h w -> b n (s c) h w", s=stride)


def to_groups(video_BTCHW: Tensor, stride: int) -> Tensor:
    """Return groups (B, 1 + (T - 1) / stride, stride * C, H, W); group 0 is frame 0 held still.

    >>> to_groups(torch.zeros(2, 9, 3, 16, 16), stride=4).shape
    torch.Size([2, 3, 12, 16, 16])
    """
    first = still_groups(video_BTCHW[:, 0], stride)
    return torch.cat([first[:, None], moving_groups(video_BTCHW[:, 1:], stride)], dim=1)


def join(groups_BNSCHW: Tensor, last_BCHW: Tensor) -> Tensor:
    """Join groups whose first frame is that before the group, made again; return frames (B, N * (S - 1), C, H, W).

    What the two makings of a frame differ by is an error of one of both groups, and a viewer sees it jump. It fades out
    over the group instead: frame ``i`` of ``n`` gets ``1 - i / n`` of it. ``last_BCHW`` is the frame before all.

    >>> still = torch.tensor([1.0, 1.0, 1.0, 1.0, 1.0]).view(1, 1, 5, 1, 1, 1)
    >>> join(still, torch.zeros(1, 1, 1, 1)).flatten().tolist()
    [0.25, 0.5, 0.75, 1.0]
    """
    again, frames = groups_BNSCHW[:, :, :1], groups_BNSCHW[:, :, 1:]
    before = torch.cat([last_BCHW[:, None], frames[:, :-1, -1]], dim=1)
    left = 1 - torch.arange(1, frames.shape[2] + 1, device=frames.device, dtype=frames.dtype) / frames.shape[2]
    return (frames + left[:, None, None, None] * (before.unsqueeze(2) - again)).flatten(1, 2)


def check_video(video_BTCHW: Tensor, stride_t: int, stride_s: int, first: bool = True) -> None:
    """Raise ValueError unless a video of floats has 3 channels, sides that ``stride_s`` divides and whole groups.

    ``first`` says that frame 0 is the first of its clip and so stands alone: T = 1 + k * stride_t, else T = k *
    stride_t.
    """
    if video_BTCHW.ndim != 5 or video_BTCHW.shape[2] != 3:
        raise ValueError(f"video has shape {tuple(video_BTCHW.shape)}; pass (B, T, 3, H, W) with pixels in [-1, 1]")
    if not video_BTCHW.is_floating_point():
        raise ValueError(f"pixels are {video_BTCHW.dtype}; pass floats in [-1, 1]")
    frames, (height, width) = video_BTCHW.shape[1], video_BTCHW.shape[3:]
    if height % stride_s or width % stride_s or not height or not width:
        raise ValueError(f"frames of {height}x{width} pixels do not divide by {stride_s}; crop or resize the sides")
    if frames < 1 or (frames - first) % stride_t:
        lengths = f"1 + {stride_t} k" if first else f"{stride_t} k"
        raise ValueError(f"{frames} frames are not {lengths}; cut the video to a length of whole groups")


def check_rows(rows: int, batch: int) -> None:
    """Raise ValueError unless a stream's next piece has as many rows as its state."""
    if rows != batch:
        raise ValueError(f"{rows} rows do not fit a state of batch {batch}; start a new state")
