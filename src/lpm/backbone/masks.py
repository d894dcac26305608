"""Chunk-wise causal attention: one function says who sees whom, in a dense mask and in FlexAttention's blocks."""

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from torch import Tensor

if TYPE_CHECKING:
    from torch.nn.attention.flex_attention import BlockMask

STILL = -1  # the chunk of what does not move: the first picture and the references


class Place(NamedTuple):
    """Where tokens belong.

    Attributes:
        chunk_L: chunk of each token, ``STILL`` for pictures.
        copy_L: 0 for tokens that later chunks may look back to; with a history apart from what is denoised, tokens that
            are denoised are copy 1.
    """

    chunk_L: Tensor
    copy_L: Tensor


def sees(query: Place, key: Place, sink: int, window: int) -> Tensor:
    """Tell which keys a query sees: pictures; its own chunk; and chunks before it, the first ``sink`` and the last
    ``window`` of them. Pictures see pictures only. Places broadcast.

    Source: LPM 1.0, Online LPM.
    """
    still, moving = key.chunk_L == STILL, query.chunk_L != STILL
    age = query.chunk_L - key.chunk_L
    own = (age == 0) & (key.copy_L == query.copy_L)
    before = (age > 0) & (key.copy_L == 0) & ((age <= window) | (key.chunk_L < sink))
    return still | (moving & (own | before))


class MaskBuilder(Protocol):
    """Makes a mask that the attention back end takes: ``dense_mask`` for ``lpm.ops.sdpa``, ``block_mask`` for flex."""

    def __call__(self, place: Place, exists_BL: Tensor | None, sink: int, window: int) -> Any:
        """Return the mask of a sequence; ``exists_BL`` is False on keys that nobody sees."""
        ...


def dense_mask(place: Place, exists_BL: Tensor | None, sink: int, window: int) -> Tensor:
    """Return a bool mask (B or 1, 1, L, L), True may be read."""
    query, key = Place(*(x[:, None] for x in place)), Place(*(x[None] for x in place))
    seen = sees(query, key, sink, window)[None, None]
    return seen if exists_BL is None else seen & exists_BL[:, None, None]


def block_mask(place: Place, exists_BL: Tensor | None, sink: int, window: int) -> "BlockMask":
    """Return FlexAttention's sparse mask of the same pattern, for ``attend=lpm.ops.flex`` on a GPU."""
    from torch.nn.attention.flex_attention import create_block_mask

    length = len(place.chunk_L)

    def allowed(b: Tensor, h: Tensor, q: Tensor, k: Tensor) -> Tensor:
        seen = sees(Place(*(x[q] for x in place)), Place(*(x[k] for x in place)), sink, window)
        return seen if exists_BL is None else seen & exists_BL[b, k]

    batch = None if exists_BL is None else len(exists_BL)
    return create_block_mask(allowed, batch, None, length, length, device=place.chunk_L.device)
