"""Rotary positions in three axes (time, y, x), real-valued, for any positions."""

from typing import NamedTuple

import torch
from torch import Tensor


class Rotary(NamedTuple):
    """Cosines and sines of the rotation of each token, (B or 1, 1, L, K / 2)."""

    cos: Tensor
    sin: Tensor


def axis_widths(head_width: int) -> tuple[int, int, int]:
    """Split the K / 2 rotation planes of a head over time, y and x; time takes the rest (as in Wan2.1).

    >>> axis_widths(128)
    (22, 21, 21)
    """
    if head_width % 2 or head_width < 6:
        raise ValueError(f"head width of {head_width} must be even and at least 6; change width or heads")
    side = head_width // 6
    return head_width // 2 - 2 * side, side, side


def make_rotary(positions_BL3: Tensor, head_width: int, theta: float = 10_000.0) -> Rotary:
    """Return the rotations for positions (t, y, x) of each token; positions may be fractional or negative.

    Source: Su et al. 2021 (RoPE), split over axes as in Wan2.1.
    """
    angles = []
    for axis, planes in enumerate(axis_widths(head_width)):
        exponent = torch.arange(planes, dtype=positions_BL3.dtype, device=positions_BL3.device) / planes
        angles.append(positions_BL3[..., axis, None] * theta**-exponent)
    angle_B1LK = torch.cat(angles, dim=-1).unsqueeze(1)
    return Rotary(angle_B1LK.cos(), angle_B1LK.sin())


def rotate(x_BHLK: Tensor, rotation: Rotary) -> Tensor:
    """Rotate queries or keys; plane i is made of channels i and i + K / 2."""
    cos, sin = rotation.cos.to(x_BHLK.dtype), rotation.sin.to(x_BHLK.dtype)
    left, right = x_BHLK.chunk(2, dim=-1)
    return torch.cat([left * cos - right * sin, right * cos + left * sin], dim=-1)
