"""Segments of the token sequence: the video, then the references."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Segment:
    """Pictures of one size.

    Attributes:
        tokens_BFLD: F pictures of L tokens.
        positions_BN3: (t, y, x) of the F L tokens; the batch may be 1.
        t_BF: noise levels.
        mask_BF: True on pictures that may be seen; None for all.
        real_L: True on tokens that are no padding, of each picture; None for all.
    """

    tokens_BFLD: Tensor
    positions_BN3: Tensor
    t_BF: Tensor
    mask_BF: Tensor | None = None
    real_L: Tensor | None = None


def join_tokens(segments: list[Segment]) -> tuple[Tensor, Tensor]:
    """Return all tokens (B, L, D) and their positions (B, L, 3)."""
    batch = segments[0].tokens_BFLD.shape[0]
    positions = [segment.positions_BN3.expand(batch, -1, -1) for segment in segments]
    return torch.cat([segment.tokens_BFLD.flatten(1, 2) for segment in segments], dim=1), torch.cat(positions, dim=1)


def join_masks(segments: list[Segment]) -> Tensor | None:
    """Return which tokens may be read, (B, 1, 1, L), or None if all may."""
    if all(segment.mask_BF is None and segment.real_L is None for segment in segments):
        return None
    masks = []
    for segment in segments:
        seen = torch.ones_like(segment.t_BF, dtype=torch.bool) if segment.mask_BF is None else segment.mask_BF
        real = torch.ones_like(seen[0, :1]) if segment.real_L is None else segment.real_L
        masks.append((seen[:, :, None] & real).expand(-1, -1, segment.tokens_BFLD.shape[2]).flatten(1))
    return torch.cat(masks, dim=1)[:, None, None]


def join_times(segments: list[Segment]) -> Tensor:
    """Return the noise level of each slot, (B, S): slots are the largest equal runs of tokens inside one picture.

    Pictures of one size give one slot each, so modulation costs one row a picture, whatever its tokens.
    """
    slot = math.gcd(*(segment.tokens_BFLD.shape[2] for segment in segments))
    times = [segment.t_BF.repeat_interleave(segment.tokens_BFLD.shape[2] // slot, dim=1) for segment in segments]
    return torch.cat(times, dim=1)
