"""Multi-head attention with query and key norms: over the sequence itself, or over a context."""

from einops import rearrange
from torch import Tensor, nn

from lpm.nn.view import KeyValue, View
from lpm.ops import Attend, sdpa


def split_heads(x_BLD: Tensor, heads: int) -> Tensor:
    """(B, L, D) -> (B, H, L, K)."""
    return x_BLD.unflatten(-1, (heads, -1)).transpose(1, 2)


def merge_heads(x_BHLK: Tensor) -> Tensor:
    """(B, H, L, K) -> (B, L, D)."""
    return x_BHLK.transpose(1, 2).flatten(2)


class SelfAttention(nn.Module):
    """Self-attention with RMS-normed queries and keys (norm over all heads, as in Wan2.1); a view rotates them."""

    def __init__(self, width: int, heads: int, attend: Attend | None = None) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"width of {width} does not divide into {heads} heads; change width or heads")
        self.heads = heads
        self.attend = attend or sdpa
        self.qkv = nn.Linear(width, 3 * width)
        self.norm_query = nn.RMSNorm(width, eps=1e-6)
        self.norm_key = nn.RMSNorm(width, eps=1e-6)
        self.out = nn.Linear(width, width)

    def forward(self, x_BLD: Tensor, view: View) -> tuple[Tensor, KeyValue]:
        """Return what the tokens read (B, L, D), and their own keys (before RoPE) and values."""
        query, key, value = self.qkv(x_BLD).chunk(3, dim=-1)
        made = self._by_head(key, value)
        read = view(split_heads(self.norm_query(query), self.heads), made, self.attend)
        return self.out(merge_heads(read)), made

    def key_value(self, x_BLD: Tensor) -> KeyValue:
        """Return the tokens' keys (before RoPE) and values alone."""
        _, key, value = self.qkv(x_BLD).chunk(3, dim=-1)
        return self._by_head(key, value)

    def _by_head(self, key_BLD: Tensor, value_BLD: Tensor) -> KeyValue:
        return KeyValue(split_heads(self.norm_key(key_BLD), self.heads), split_heads(value_BLD, self.heads))


class ContextAttention(nn.Module):
    """Reading of one context with queries made elsewhere: own keys, values and output projection.

    Without ``bias`` of the output, zero values give exactly zero.
    """

    def __init__(self, width: int, heads: int, attend: Attend | None = None, bias: bool = False) -> None:
        super().__init__()
        self.heads = heads
        self.attend = attend or sdpa
        self.key_value = nn.Linear(width, 2 * width)
        self.norm_key = nn.RMSNorm(width, eps=1e-6)
        self.out = nn.Linear(width, width, bias=bias)

    def forward(self, query_BLD: Tensor, context_BLD: Tensor, mask_BL: Tensor | None = None) -> Tensor:
        """Return (B, L, D); ``mask_BL`` is True on context tokens that may be read."""
        key, value = self.key_value(context_BLD).chunk(2, dim=-1)
        query, key, value = (split_heads(x, self.heads) for x in (query_BLD, self.norm_key(key), value))
        mask = None if mask_BL is None else rearrange(mask_BL, "b l -> b 1 1 l")
        return self.out(merge_heads(self.attend(query, key, value, mask)))

    def zero_value_(self) -> None:
        """Zero the value projection, so that the context is mute until it is trained."""
        width = self.out.in_features
        nn.init.zeros_(self.key_value.weight[width:])
        nn.init.zeros_(self.key_value.bias[width:])
