"""Part of the decoder: moves the first picture, so that what it showed stays sharp however rough the latents are."""

from __future__ import annotations

import torch
from einops import rearrange, repeat
from torch import Tensor, nn
from torch.nn.functional import grid_sample, interpolate

REACH = 4.0
"""Pixels that one unit of the flow layer's output stands for; it starts at 0, and its weights stay small."""


def warp(picture_NCHW: Tensor, flow_N2HW: Tensor) -> Tensor:
    """Return the picture whose pixel (y, x) comes from (y + flow y, x + flow x), in pixels; edges repeat.

    >>> row = torch.arange(4.0).expand(1, 1, 4, 4)
    >>> warp(row, torch.tensor([1.0, 0.0]).view(1, 2, 1, 1).expand(1, 2, 4, 4))[0, 0, 0].tolist()
    [1.0, 2.0, 3.0, 3.0]
    """
    height, width = picture_NCHW.shape[-2:]
    y, x = torch.meshgrid(
        torch.arange(height, dtype=flow_N2HW.dtype, device=flow_N2HW.device),
        torch.arange(width, dtype=flow_N2HW.dtype, device=flow_N2HW.device),
        indexing="ij",
    )
    from_x = (x + flow_N2HW[:, 0]) * (2 / max(1, width - 1)) - 1
    from_y = (y + flow_N2HW[:, 1]) * (2 / max(1, height - 1)) - 1
    grid = torch.stack([from_x, from_y], dim=-1)
    return grid_sample(picture_NCHW, grid, mode="bilinear", padding_mode="border", align_corners=True)


class Move(nn.Module):
    """Features -> where each pixel of each frame of a group comes from in the first picture, and how far to trust it.

    Generated latents are never exact, and a decoder that paints every pixel from them turns their errors into texture.
    A flow changes slowly from place to place, so errors of latents average out in it, and what it moves is as sharp as
    the picture it moves. Source: first order motion model (Siarohin et al. 2019), its flow and occlusion.

    Starts with no motion and next to no share.
    """

    def __init__(self, frames: int, width: int) -> None:
        super().__init__()
        self.frames = frames
        last = nn.Conv2d(width, frames * 3, 5, padding=2)
        nn.init.zeros_(last.weight)
        with torch.no_grad():
            last.bias.copy_(torch.tensor([0.0, 0.0, -3.0]).repeat(frames))  # type: ignore[union-attr]
        self.out = nn.Sequential(nn.SiLU(), last)

    def forward(self, features_NCYX: Tensor, first_N3HW: Tensor) -> tuple[Tensor, Tensor]:
        """Return the moved picture (N, frames * 3, H, W) and its share in [0, 1], of the same shape."""
        height, width = first_N3HW.shape[-2:]
        out = interpolate(self.out(features_NCYX), (height, width), mode="bilinear", align_corners=False)
        out = rearrange(out, "n (t c) h w -> (n t) c h w", t=self.frames)
        moved = warp(repeat(first_N3HW, "n c h w -> (n t) c h w", t=self.frames), REACH * out[:, :2])
        share = repeat(out[:, 2:].sigmoid(), "(n t) 1 h w -> n (t c) h w", t=self.frames, c=3)
        return rearrange(moved, "(n t) c h w -> n (t c) h w", t=self.frames), share
