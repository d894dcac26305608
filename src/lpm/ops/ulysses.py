"""Attention over a sequence whose tokens lie on several processes, in the manner of Ulysses."""

from collections.abc import Callable

import torch
import torch.distributed as dist
from einops import rearrange
from torch import Tensor

from lpm.ops.attend import Attend, sdpa

Exchange = Callable[[Tensor], Tensor]
"""(P, ...) -> (P, ...): row p goes to process p of a group, and row p of the result came from process p."""


class _AllToAll(torch.autograd.Function):
    """Rows to processes; the gradient of each row travels back to where the row came from."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, x: Tensor, group: dist.ProcessGroup) -> Tensor:
        ctx.group = group  # type: ignore[attr-defined]
        received = torch.empty_like(x, memory_format=torch.contiguous_format)
        dist.all_to_all_single(received, x.contiguous(), group=group)
        return received

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *gradients: Tensor) -> tuple[Tensor, None]:
        return _AllToAll.apply(gradients[0], ctx.group), None  # type: ignore[attr-defined, no-any-return]


def all_to_all(group: dist.ProcessGroup) -> Exchange:
    """Return the exchange of a process group; gradients pass through it."""

    def exchange(x: Tensor) -> Tensor:
        return _AllToAll.apply(x, group)  # type: ignore[no-any-return]

    return exchange


class Ulysses:
    """An ``Attend`` for L tokens of which each of P processes holds L / P: tokens are exchanged for heads.

    Between two exchanges each process attends for H / P heads over the whole sequence, which is in the order of the
    processes; a mask is one of that whole sequence. Source: Jacobs et al. 2023, DeepSpeed Ulysses.

    Args:
        size: P, processes in the group; it divides the number of heads.
        exchange: sends rows to processes, such as ``all_to_all(group)``.
        attend: attention back end, ``lpm.ops.sdpa`` if None.
    """

    def __init__(self, size: int, exchange: Exchange, attend: Attend | None = None) -> None:
        self.size, self.exchange, self.attend = size, exchange, attend or sdpa

    def __call__(self, query_BHLK: Tensor, key_BHLK: Tensor, value_BHLK: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return (B, H, L / P, K) for this process's queries."""
        check_heads(query_BHLK.shape[1], self.size)
        own = torch.stack([query_BHLK, key_BHLK, value_BHLK])
        parts = self.exchange(rearrange(own, "n b (p h) l k -> p n b h l k", p=self.size))
        query, key, value = rearrange(parts, "p n b h l k -> n b h (p l) k")
        read = self.attend(query, key, value, mask)
        parts = self.exchange(rearrange(read, "b h (p l) k -> p b h l k", p=self.size))
        return rearrange(parts, "p b h l k -> b (p h) l k")


def check_heads(heads: int, size: int) -> None:
    """Raise ValueError unless ``heads`` attention heads divide over ``size`` processes."""
    if heads % size:
        good = [count for count in range(1, heads + 1) if heads % count == 0]
        raise ValueError(
            f"{heads} attention heads do not divide over a context of {size} processes; "
            f"choose a context of {', '.join(map(str, good))}"
        )
