"""Positions (t, y, x) of video and reference tokens: the segment-wise 3-D RoPE.

``RoPE(t + o_kind + s_sub, y, x)``: kinds of references are told apart by position alone
(LPM 1.0, identity-aware multi-reference conditioning).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from lpm.types import References


@dataclass(frozen=True)
class SegmentOffsets:
    """Time position of the first sub-kind of each reference kind; later sub-kinds lie one step earlier each.

    Negative, so that a clip of any length, counted from 0, never meets them.
    """

    global_: float = -4.0
    body: float = -8.0
    expression: float = -16.0


def grid(times_BF: Tensor, height: int, width: int) -> Tensor:
    """Return positions (t, y, x) of the tokens of a row of pictures of ``height`` x ``width`` tokens: (B, F n, 3)."""
    y, x = torch.meshgrid(
        torch.arange(height, dtype=times_BF.dtype, device=times_BF.device),
        torch.arange(width, dtype=times_BF.dtype, device=times_BF.device),
        indexing="ij",
    )
    place_n2 = torch.stack([y, x], dim=-1).flatten(0, 1)
    batch, frames = times_BF.shape
    time_BFn1 = times_BF[:, :, None, None].expand(-1, -1, height * width, 1)
    return torch.cat([time_BFn1, place_n2.expand(batch, frames, -1, -1)], dim=-1).flatten(1, 2)


def reference_times(references: References, offsets: SegmentOffsets, dtype: torch.dtype) -> Tensor:
    """Return the time position of each reference: (B, R)."""
    device = references.kind_BR.device
    table = torch.tensor([offsets.global_, offsets.body, offsets.expression], dtype=dtype, device=device)
    return table[references.kind_BR.long()] - references.sub_kind_BR.to(dtype)
