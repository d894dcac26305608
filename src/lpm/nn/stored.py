"""How the chunks of one layer are kept in a cache: exactly, or in 8 bits."""

from dataclasses import dataclass
from typing import Protocol, Self

import torch
from torch import Tensor

from lpm.nn.view import KeyValue


class Stored(Protocol):
    """Keys (before RoPE) and values of S chunks of L tokens; a value that ``write`` replaces or, in place, changes."""

    @classmethod
    def empty(cls, like: KeyValue, slots: int, tokens: int) -> Self:
        """Return room for ``slots`` chunks of ``tokens`` tokens, with the batch, heads and type of ``like``."""
        ...

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """All tensors, batch first."""
        ...

    def write(self, row_N: Tensor, slot_N: Tensor, made: KeyValue, in_place: bool) -> Self:
        """Put one chunk (N, H, L, K) into a slot of each given row."""
        ...

    def read(self) -> KeyValue:
        """Return keys and values (B, H, S L, K)."""
        ...


@dataclass(frozen=True)
class Exact:
    """Keys and values in the precision in which the network made them."""

    key_BHSLK: Tensor
    value_BHSLK: Tensor

    @classmethod
    def empty(cls, like: KeyValue, slots: int, tokens: int) -> "Exact":
        """Return zeros."""
        batch, heads, _, width = like.key.shape
        key, value = (x.new_zeros(batch, heads, slots, tokens, width) for x in like)
        return cls(key, value)

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """Keys, values."""
        return self.key_BHSLK, self.value_BHSLK

    def write(self, row_N: Tensor, slot_N: Tensor, made: KeyValue, in_place: bool) -> "Exact":
        """Put one chunk (N, H, L, K) into a slot of each given row."""
        return Exact(*(put_chunk(old, row_N, slot_N, new, in_place) for old, new in zip(self.tensors, made)))

    def read(self) -> KeyValue:
        """Return keys and values (B, H, S L, K), views of what is stored."""
        return KeyValue(self.key_BHSLK.flatten(2, 3), self.value_BHSLK.flatten(2, 3))


@dataclass(frozen=True)
class EightBit:
    """Keys and values as int8 with one scale per token and head: about half of bfloat16's memory; for serving only.

    A step is 1/127 of the largest number of a token's head, so errors stay below .4 % of that number.
    """

    key_BHSLK: Tensor
    key_scale_BHSL1: Tensor
    value_BHSLK: Tensor
    value_scale_BHSL1: Tensor

    @classmethod
    def empty(cls, like: KeyValue, slots: int, tokens: int) -> "EightBit":
        """Return zeros."""
        batch, heads, _, width = like.key.shape
        scale = like.key.new_zeros(batch, heads, slots, tokens, 1)
        key = scale.new_zeros(batch, heads, slots, tokens, width, dtype=torch.int8)
        return cls(key, scale, key.clone(), scale.clone())

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """Keys and their scales, values and their scales."""
        return self.key_BHSLK, self.key_scale_BHSL1, self.value_BHSLK, self.value_scale_BHSL1

    def write(self, row_N: Tensor, slot_N: Tensor, made: KeyValue, in_place: bool) -> "EightBit":
        """Round one chunk (N, H, L, K) and put it into a slot of each given row.

        Raises:
            ValueError: the chunk carries a gradient, which rounding would cut.
        """
        if made.key.requires_grad:
            raise ValueError("8-bit keys carry no gradient; train with lpm.nn.Exact, or extend under torch.no_grad()")
        news = (*round_to_eight_bits(made.key), *round_to_eight_bits(made.value))
        return EightBit(*(put_chunk(old, row_N, slot_N, new, in_place) for old, new in zip(self.tensors, news)))

    def read(self) -> KeyValue:
        """Return keys and values (B, H, S L, K) in full precision, made now."""
        key, value = self.key_BHSLK * self.key_scale_BHSL1, self.value_BHSLK * self.value_scale_BHSL1
        return KeyValue(key.flatten(2, 3), value.flatten(2, 3))


def round_to_eight_bits(x_NHLK: Tensor) -> tuple[Tensor, Tensor]:
    """Return int8 numbers (N, H, L, K) and their scale (N, H, L, 1): the largest of each token's head becomes 127."""
    scale = x_NHLK.abs().amax(dim=-1, keepdim=True) / 127
    return (x_NHLK / scale.clamp_min(torch.finfo(scale.dtype).tiny)).round().clamp(-127, 127).to(torch.int8), scale


def put_chunk(stored_BHSLK: Tensor, row_N: Tensor, slot_N: Tensor, new_NHLK: Tensor, in_place: bool) -> Tensor:
    """Return the store with a chunk in one slot of each given row.

    Not in place, the result is a new tensor with the gradients of all its parts: what other slots hold keeps its own,
    even if the chunk was made without. A store written in place would answer for the chunk that it held before, and
    40 % of a roll-out's gradient would be wrong without a word.
    """
    if in_place:
        stored_BHSLK.transpose(1, 2).index_put_((row_N, slot_N), new_NHLK)
        return stored_BHSLK
    with torch.enable_grad():
        return stored_BHSLK.transpose(1, 2).index_put((row_N, slot_N), new_NHLK).transpose(1, 2)
