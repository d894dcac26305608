import torch
from torch import nn

from lpm.ops import add_gated, modulate


def test_modulation_matches_layer_norm_written_out_per_token():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 6, 4, generator=generator)
    shift, scale = torch.randn(2, 2, 3, 4, generator=generator)
    norm = nn.LayerNorm(4, eps=1e-6, elementwise_affine=False)
    expected = torch.stack([norm(x[:, i]) * (1 + scale[:, i // 2]) + shift[:, i // 2] for i in range(6)], dim=1)
    torch.testing.assert_close(modulate(x, shift, scale), expected)


def test_gate_belongs_to_its_slot():
    x, update = torch.zeros(1, 4, 2), torch.ones(1, 4, 2)
    gate = torch.tensor([[[0.0, 0.0], [2.0, 3.0]]])
    assert add_gated(x, update, gate).tolist() == [[[0, 0], [0, 0], [2, 3], [2, 3]]]
