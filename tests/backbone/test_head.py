import pytest
import torch

from lpm.backbone import Head, MotionHead
from lpm.nn import PatchEmbed


@pytest.fixture
def embed():
    return PatchEmbed(channels=4, width=16, patch=2)


@pytest.mark.parametrize("kind", [Head, MotionHead])
def test_heads_start_at_zero_and_keep_the_shape(kind, embed):
    noisy = torch.randn(2, 3, 4, 4, 6)
    made = kind(embed)(torch.randn(2, 3 * 6, 16), torch.randn(2, 18, 16), embed, noisy[:, 0])
    assert made.shape == noisy.shape
    assert made.abs().max() == 0


def test_a_motion_head_shifts_the_first_frame(embed):
    head = MotionHead(embed, filters=1)
    left = torch.zeros(4, 4, 3, 3)
    left[range(4), range(4), 1, 2] = 1  # each channel takes its right neighbour: the picture moves left
    head.filter.weight.data = left
    head.amount.bias.data.fill_(1.0)
    noisy = torch.randn(1, 2, 4, 4, 6)
    made = head(torch.randn(1, 12, 16), torch.zeros(1, 12, 16), embed, noisy[:, 0])
    assert torch.allclose(made[:, 1, :, :, :-1], noisy[:, 0, :, :, 1:])


def test_the_gate_silences_new_patches(embed):
    head = MotionHead(embed)
    head.new.out.bias.data.fill_(1.0)
    given = torch.randn(1, 12, 16), torch.zeros(1, 12, 16), embed, torch.randn(1, 4, 4, 6)
    assert torch.allclose(head(*given), torch.ones(1, 2, 4, 4, 6))
    head.gate.bias.data.fill_(-20.0)
    assert head(*given).abs().max() < 1e-6
