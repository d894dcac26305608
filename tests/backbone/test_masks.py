import pytest
import torch

from lpm.backbone import Place, block_mask, dense_mask, sees


def allowed(query, key, sink, window):
    """Who sees whom, case by case; a token is (chunk, copy), a picture None."""
    if key is None or query is None:
        return key is None
    (chunk, copy), (other, other_copy) = query, key
    if other == chunk:
        return copy == other_copy
    return other < chunk and other_copy == 0 and (other < sink or other >= chunk - window)


@pytest.mark.parametrize("sink, window", [(0, 1), (1, 2), (3, 2), (0, 9)])
def test_every_pair_of_places(sink, window):
    tokens = [None, *((chunk, copy) for copy in (0, 1) for chunk in range(7)), None]
    place = Place(*(torch.tensor([(-1, 0)[i] if x is None else x[i] for x in tokens]) for i in (0, 1)))
    expected = torch.tensor([[allowed(query, key, sink, window) for key in tokens] for query in tokens])
    assert torch.equal(dense_mask(place, None, sink, window), expected[None, None])
    exists = torch.rand(3, len(tokens)) < 0.7
    assert torch.equal(dense_mask(place, exists, sink, window), (expected & exists[:, None])[:, None])


@pytest.mark.parametrize("length", [128, 200])
def test_blocks_are_the_same_pattern(length):
    place = Place(torch.arange(length) // 20 - 1, torch.zeros(length, dtype=torch.long))
    exists = torch.rand(2, length) < 0.9
    blocks = block_mask(place, exists, 1, 2)
    b, q, k = torch.meshgrid(torch.arange(2), torch.arange(length), torch.arange(length), indexing="ij")
    dense = dense_mask(place, exists, 1, 2)
    assert torch.equal(blocks.mask_mod(b, torch.zeros_like(b), q, k), dense[:, 0])
    assert blocks.shape[-2:] == (length, length)
    assert bool(sees(Place(place.chunk_L[-1:], place.copy_L[-1:]), place, 1, 2).any())
