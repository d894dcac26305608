import pytest
import torch

from lpm.backbone import Head, MotionHead, Pictures
from lpm.nn import PatchEmbed


@pytest.fixture
def embed():
    return PatchEmbed(channels=4, width=16, patch=2)


def pictures(first, references=2):
    others = torch.randn(len(first), references, *first.shape[1:])
    return Pictures(first, others, torch.arange(references).expand(len(first), -1))


@pytest.mark.parametrize("kind", [Head, MotionHead])
def test_heads_start_at_zero_and_keep_the_shape(kind, embed):
    noisy = torch.randn(2, 3, 4, 4, 6)
    made = kind(embed)(torch.randn(2, 3 * 6, 16), torch.randn(2, 18, 16), embed, pictures(noisy[:, 0]))
    assert made.shape == noisy.shape
    assert made.abs().max() == 0


def test_a_motion_head_shifts_the_first_frame(embed):
    head = MotionHead(embed, filters=1)
    left = torch.zeros(4, 4, 3, 3)
    left[range(4), range(4), 1, 2] = 1  # each channel takes its right neighbour: the picture moves left
    head.filter.weight.data = left
    head.amount.bias.data.fill_(1.0)
    noisy = torch.randn(1, 2, 4, 4, 6)
    made = head(torch.randn(1, 12, 16), torch.zeros(1, 12, 16), embed, pictures(noisy[:, 0]))
    assert torch.allclose(made[:, 1, :, :, :-1], noisy[:, 0, :, :, 1:])


def test_the_gate_silences_new_patches(embed):
    head = MotionHead(embed)
    head.new.out.bias.data.fill_(1.0)
    given = torch.randn(1, 12, 16), torch.zeros(1, 12, 16), embed, pictures(torch.randn(1, 4, 4, 6))
    assert torch.allclose(head(*given), torch.ones(1, 2, 4, 4, 6))
    head.gate.bias.data.fill_(-20.0)
    assert head(*given).abs().max() < 1e-6


def test_a_motion_head_takes_the_reference_of_the_place_that_a_token_asks_for(embed):
    head, seen = MotionHead(embed, reference_filters=2), pictures(torch.randn(1, 4, 4, 6), references=3)
    seen = seen._replace(place_BR=torch.tensor([[0, 4, 12]]))
    amount = head.reference_amount.bias.data.unflatten(0, (13, 2, 4))
    amount[4, 0] = 1.0  # the identity, of place 4
    made = head(torch.randn(1, 12, 16), torch.zeros(1, 12, 16), embed, seen)
    torch.testing.assert_close(made, seen.others_BRCYX[:, 1:2].expand(-1, 2, -1, -1, -1))
    turned = seen._replace(others_BRCYX=seen.others_BRCYX.flip(1), place_BR=seen.place_BR.flip(1))
    torch.testing.assert_close(head(torch.randn(1, 12, 16), torch.zeros(1, 12, 16), embed, turned), made)


def test_references_that_are_absent_change_nothing(embed):
    head, given = MotionHead(embed), (torch.randn(1, 12, 16), torch.zeros(1, 12, 16), embed)
    for parameter in head.parameters():
        parameter.data += torch.randn_like(parameter)
    seen = pictures(torch.randn(1, 4, 4, 6), references=0)
    masked = pictures(seen.first_BCYX)
    torch.testing.assert_close(head(*given, masked._replace(others_BRCYX=masked.others_BRCYX * 0)), head(*given, seen))
