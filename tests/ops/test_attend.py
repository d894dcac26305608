import importlib.util

import pytest
import torch

from lpm import ops


@pytest.fixture
def qkv():
    return torch.randn(3, 2, 4, 6, 8, generator=torch.Generator().manual_seed(0)).unbind(0)


def attend_by_the_formula(query, key, value, mask):
    scores = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf)
    return scores.softmax(-1) @ value


@pytest.mark.parametrize("attend", [ops.sdpa, pytest.param(ops.flex, marks=pytest.mark.slow)])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.filterwarnings("ignore")
def test_attention_matches_the_formula(attend, masked, qkv):
    mask = torch.tensor([[1, 1, 1, 0, 0, 1], [1, 0, 0, 0, 0, 0]]).bool()[:, None, None] if masked else None
    torch.testing.assert_close(attend(*qkv, mask), attend_by_the_formula(*qkv, mask), rtol=1e-4, atol=1e-5)


@pytest.mark.skipif(importlib.util.find_spec("flash_attn") is not None, reason="flash-attn is installed")
def test_missing_flash_names_its_install_line(qkv):
    with pytest.raises(ImportError, match="pip install flash-attn"):
        ops.flash(*qkv, None)
