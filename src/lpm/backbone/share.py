"""Which tokens of the sequence a process holds: all of them, or its share of every picture."""

from dataclasses import replace
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from lpm.backbone.segments import Segment, join_masks
from lpm.ops import Exchange


class Share(Protocol):
    """How the token sequence is divided among processes."""

    def take(self, segments: list[Segment]) -> list[Segment]:
        """Return this process's tokens of whole segments."""
        ...

    def mask(self, segments: list[Segment]) -> Tensor | None:
        """Return which tokens may be read, (B, 1, 1, L), over all processes; None if all may."""
        ...

    def join(self, tokens_BFLD: Tensor, count: int) -> Tensor:
        """Return all ``count`` tokens (B, F, count, D) of pictures of which this process holds a share."""
        ...


class WholeSequence:
    """One process holds everything."""

    def take(self, segments: list[Segment]) -> list[Segment]:
        """Return the segments."""
        return segments

    def mask(self, segments: list[Segment]) -> Tensor | None:
        """Return the mask of the segments."""
        return join_masks(segments)

    def join(self, tokens_BFLD: Tensor, count: int) -> Tensor:
        """Return the tokens."""
        return tokens_BFLD


class ContextShare:
    """Each of P processes holds a P-th of the tokens of *every* picture, video frames and references alike.

    So every process has tokens of all frames and all references, as many as the others, and nothing inside the blocks
    changes: the slot of a picture's noise level and the audio window of a latent frame are those of its tokens. A
    picture whose tokens do not divide by P is padded with tokens that nobody reads.

    All processes of the group must be given the same batch and noise. Each computes the whole loss, and gradients of
    parameters are to be *averaged* over the group, as data parallelism does it.

    Args:
        size: P, processes in the group.
        rank: number of this process in the group.
        exchange: sends rows to processes, see ``lpm.ops.ulysses``.
    """

    def __init__(self, size: int, rank: int, exchange: Exchange) -> None:
        self.size, self.rank, self.exchange = size, rank, exchange

    def take(self, segments: list[Segment]) -> list[Segment]:
        """Return this process's tokens of whole segments."""
        return [self.part(segment, self.rank) for segment in segments]

    def mask(self, segments: list[Segment]) -> Tensor | None:
        """Return the mask of all processes' tokens, those of process 0 first."""
        masks = [join_masks([self.part(segment, rank) for segment in segments]) for rank in range(self.size)]
        present = [mask for mask in masks if mask is not None]
        return torch.cat(present, dim=-1) if present else None

    def join(self, tokens_BFLD: Tensor, count: int) -> Tensor:
        """Collect the shares of all processes."""
        parts = self.exchange(tokens_BFLD.expand(self.size, *tokens_BFLD.shape))
        return torch.cat(parts.unbind(), dim=2)[:, :, :count]

    def part(self, segment: Segment, rank: int) -> Segment:
        """Return the tokens of one process."""
        pictures, count = segment.tokens_BFLD.shape[1:3]
        each = -(-count // self.size)
        begin, pad = rank * each, each * self.size - count
        tokens = F.pad(segment.tokens_BFLD, (0, 0, 0, pad))[:, :, begin : begin + each]
        positions = F.pad(segment.positions_BN3.unflatten(1, (pictures, count)), (0, 0, 0, pad))
        real_L = torch.arange(begin, begin + each, device=tokens.device) < count if pad else None
        return replace(
            segment,
            tokens_BFLD=tokens,
            positions_BN3=positions[:, :, begin : begin + each].flatten(1, 2),
            real_L=real_L,
        )
