import pytest
import torch

from lpm.backbone import CausalDiT, cache_bytes, lpm_17b
from lpm.nn import EightBit
from lpm.types import Conditions
from tiny_streams import FPS, causal, clip


def size(tensors):
    return sum(x.numel() * x.element_size() for x in tensors)


@torch.no_grad()
@pytest.mark.parametrize("eight_bit", [False, True])
@pytest.mark.parametrize("turn_once", [False, True])
@pytest.mark.parametrize("references", [0, 3])
def test_keys_and_values_take_what_was_predicted(eight_bit, turn_once, references):
    model = causal(chunk=3, sink=2, window=1)
    latents, _, conditions = clip(1, size=(4, 6), references=references)
    stored = EightBit if eight_bit else None
    cache = model.init_cache(latents[:, 0], conditions, FPS, stored, turn_once)
    predicted = cache_bytes(model, 4, 6, references, 2, torch.float64, eight_bit, turn_once)
    parts = [*(x for pair in cache.still for x in pair), *(x for layer in cache.layers for x in layer.tensors)]
    assert size([*parts, *(x for x in cache.turned if x is not None)]) == predicted
    assert predicted < cache.bytes


@torch.no_grad()
def test_the_paper_s_network_at_480p():
    with torch.device("meta"):
        model = CausalDiT(lpm_17b())
        cache = model.init_cache(torch.empty(1, 16, 60, 104), Conditions(), FPS)
    chunk = 2 * 40 * 6 * 1560 * 5120  # keys and values of 40 blocks, 6 latent frames of 1560 tokens, width 5120
    still = 2 * 40 * 1560 * 5120
    predicted = cache_bytes(model, 60, 104)
    assert predicted == 2 * (5 * chunk + still)
    assert 7.6e9 < 2 * chunk < 7.7e9
    assert 1 < cache.bytes / (2 * predicted) < 1.01  # float32 there
    assert cache_bytes(model, 60, 104, eight_bit=True) < 0.53 * predicted
