"""Attention back ends with one signature; recipes choose one by its path, such as ``lpm.ops.sdpa``."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

Attend = Callable[[Tensor, Tensor, Tensor, Tensor | None], Tensor]
"""(query_BHLK, key_BHLK, value_BHLK, mask) -> (B, H, L, K); a mask broadcasts to (B, H, L, L), True may be read."""


def sdpa(query_BHLK: Tensor, key_BHLK: Tensor, value_BHLK: Tensor, mask: Tensor | None = None) -> Tensor:
    """Attend with PyTorch's ``scaled_dot_product_attention``, on any device."""
    return F.scaled_dot_product_attention(query_BHLK, key_BHLK, value_BHLK, attn_mask=mask)


def flex(query_BHLK: Tensor, key_BHLK: Tensor, value_BHLK: Tensor, mask: Tensor | None = None) -> Tensor:
    """Attend with PyTorch's FlexAttention; compile the network to make it fast. A ``BlockMask`` will do for a mask."""
    try:
        from torch.nn.attention.flex_attention import BlockMask, flex_attention
    except ImportError as error:
        raise ImportError("flex attention needs a newer PyTorch: pip install 'torch>=2.6'") from error
    if mask is None or isinstance(mask, BlockMask):
        return flex_attention(query_BHLK, key_BHLK, value_BHLK, block_mask=mask)
    allowed = mask.expand(query_BHLK.shape[0], query_BHLK.shape[1], query_BHLK.shape[2], key_BHLK.shape[2])

    def hide(score: Tensor, b: Tensor, h: Tensor, q: Tensor, k: Tensor) -> Tensor:
        return torch.where(allowed[b, h, q, k], score, -float("inf"))

    return flex_attention(query_BHLK, key_BHLK, value_BHLK, score_mod=hide)


def flash(query_BHLK: Tensor, key_BHLK: Tensor, value_BHLK: Tensor, mask: Tensor | None = None) -> Tensor:
    """Attend with the flash-attn package, in half precision on CUDA; masks may only hide keys: (B, 1, 1, L)."""
    try:
        from flash_attn import flash_attn_func, flash_attn_varlen_func
    except ImportError as error:
        raise ImportError("flash attention needs its package: pip install flash-attn --no-build-isolation") from error
    query, key, value = (x.transpose(1, 2) for x in (query_BHLK, key_BHLK, value_BHLK))
    if mask is None:
        return flash_attn_func(query, key, value).transpose(1, 2)
    if mask.shape[1:3] != (1, 1):
        raise ValueError(f"flash cannot use a mask of shape {tuple(mask.shape)}; pass (B, 1, 1, L) or choose sdpa")
    batch, length = query.shape[:2]
    keep = mask[:, 0, 0].expand(batch, -1)
    counts = keep.sum(1, dtype=torch.int32)
    out = flash_attn_varlen_func(
        query.reshape(batch * length, *query.shape[2:]),
        key[keep],
        value[keep],
        torch.arange(0, (batch + 1) * length, length, dtype=torch.int32, device=query.device),
        F.pad(counts.cumsum(0, dtype=torch.int32), (1, 0)),
        length,
        int(counts.max()),
    )
    return out.unflatten(0, (batch, length)).transpose(1, 2)
