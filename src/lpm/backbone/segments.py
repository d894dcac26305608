"""Segments of the token sequence: the video, then the references."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from lpm.backbone.positions import SegmentOffsets, grid, reference_times
from lpm.nn import PatchEmbed
from lpm.types import Conditions, References


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


def fine(x: Tensor) -> torch.dtype:
    """Return the precision for positions and noise levels: float32 at least, since half precision blurs their waves."""
    return torch.promote_types(x.dtype, torch.float32)


def video_segment(tokens_BFLD: Tensor, times_F: Tensor, t_BF: Tensor, embed: PatchEmbed, like_BTCYX: Tensor) -> Segment:
    """Give embedded video frames their time positions ``times_F`` and noise levels; they have the size of ``like``."""
    positions = picture_grid(times_F[None], embed, like_BTCYX)
    return Segment(tokens_BFLD, positions, t_BF.to(times_F.dtype))


def reference_segment(embed: PatchEmbed, offsets: SegmentOffsets, conditions: Conditions) -> Segment:
    """Embed the references as clean pictures; their time positions tell their kinds.

    Raises:
        ValueError: the references have no latents.
    """
    references = conditions.references
    if references is None or references.latents_BRCYX is None:
        raise ValueError("references without latents; call lpm.condition.encode_references first")
    latents = references.latents_BRCYX
    times_BR = reference_times(references, offsets, fine(latents))
    mask_BR = shown(references, conditions.keep.get("references"))
    positions = picture_grid(times_BR, embed, latents)
    return Segment(embed.images(latents), positions, torch.zeros_like(times_BR), mask_BR)


def shown(references: References, keep_B: Tensor | None) -> Tensor:
    """Return which references exist in rows that are kept, (B, R)."""
    mask_BR = references.mask_BR
    return mask_BR if keep_B is None else mask_BR & keep_B.to(mask_BR.device)[:, None]


def picture_grid(times_BF: Tensor, embed: PatchEmbed, like_BTCYX: Tensor) -> Tensor:
    """Return positions (B, F n, 3) of the tokens of pictures of the size of ``like_BTCYX`` at the given times."""
    height, width = like_BTCYX.shape[-2:]
    return grid(times_BF, height // embed.patch, width // embed.patch)


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
