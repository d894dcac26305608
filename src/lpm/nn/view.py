"""What the queries of a self-attention layer look at: keys, values, and where they lie."""

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from lpm.ops import Attend, Rotary, rotate


class KeyValue(NamedTuple):
    """Keys and values of some tokens, each (B, H, L, K)."""

    key: Tensor
    value: Tensor


class Readable(Protocol):
    """Chunks that are kept, such as ``lpm.nn.Exact``."""

    def read(self) -> KeyValue:
        """Return keys before RoPE, and values."""
        ...


class View(Protocol):
    """How a layer's queries reach keys; another view is another pattern of attention on the same weights."""

    def __call__(self, query_BHLK: Tensor, made: KeyValue, attend: Attend) -> Tensor:
        """Return what the queries read, (B, H, L, K); queries and keys of ``made`` come before RoPE."""
        ...


@dataclass(frozen=True)
class Whole:
    """All tokens look at each other, but for ``mask``.

    Attributes:
        rotation: positions of the tokens.
        mask: broadcasts to (B, H, L, L), True may be read; or what the layer's attention back end takes for a mask.
    """

    rotation: Rotary
    mask: Tensor | None = None

    def __call__(self, query_BHLK: Tensor, made: KeyValue, attend: Attend) -> Tensor:
        """Return what the queries read, (B, H, L, K)."""
        query, key = rotate(query_BHLK, self.rotation), rotate(made.key, self.rotation)
        return attend(query, key, made.value, self.mask)


@dataclass(frozen=True)
class TwoClocks:
    """All tokens look at each other, but for ``mask``; how far *anchors* lie from a query is read on a second clock.

    In a stream with window-relative positions, pictures and sink chunks stay at a fixed distance once the window is
    full, while the other chunks lie as far back as they are old. One sequence shows both if a query is rotated twice:
    towards anchors by its place in the window, towards the rest by its time. Both products come out of one call of
    attention, over heads of twice the width.

    Attributes:
        rotation: positions of the tokens in time.
        relative: positions of the tokens in their own window.
        anchor_L: True on tokens that are anchors.
        mask: as in ``Whole``.
    """

    rotation: Rotary
    relative: Rotary
    anchor_L: Tensor
    mask: Tensor | None = None

    def __call__(self, query_BHLK: Tensor, made: KeyValue, attend: Attend) -> Tensor:
        """Return what the queries read, (B, H, L, K)."""
        query = torch.cat([rotate(query_BHLK, self.relative), rotate(query_BHLK, self.rotation)], dim=-1)
        key = rotate(made.key, self.rotation)
        none, anchor_L1 = torch.zeros_like(key), self.anchor_L[:, None]
        key = torch.cat([torch.where(anchor_L1, key, none), torch.where(anchor_L1, none, key)], dim=-1)
        return attend(query * 2**0.5, key, made.value, self.mask)  # attention divides by the root of twice the width


@dataclass(frozen=True)
class Past:
    """View of the chunk at hand: itself, the still pictures and the chunks that are remembered.

    Attributes:
        still: keys after RoPE, and values, of the pictures.
        stored: the chunks; a value of its own, which later writing does not change while gradients are on.
        turned_BHPK: keys of ``still`` and ``stored`` after RoPE, if they were turned beforehand.
        turn_past, turn_now: positions of the stored tokens and of those at hand.
        mask: which keys exist, (B, 1, 1, P + L), or None if all do.
    """

    still: KeyValue
    stored: Readable
    turned_BHPK: Tensor | None
    turn_past: Rotary
    turn_now: Rotary
    mask: Tensor | None

    def __call__(self, query_BHLK: Tensor, made: KeyValue, attend: Attend) -> Tensor:
        """Return what the queries read, (B, H, L, K)."""
        past = self.stored.read()
        turned = [self.still.key, rotate(past.key, self.turn_past)] if self.turned_BHPK is None else [self.turned_BHPK]
        key = torch.cat([*turned, rotate(made.key, self.turn_now)], dim=2)
        value = torch.cat([self.still.value, past.value, made.value], dim=2)
        return attend(rotate(query_BHLK, self.turn_now), key, value, self.mask)
