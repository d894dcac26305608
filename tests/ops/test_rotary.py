import pytest
import torch

from lpm.ops.rotary import axis_widths, make_rotary, rotate


def random_positions(count, seed=0):
    return torch.rand(1, count, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 20 - 10


def test_scores_depend_on_relative_positions_only():
    query, key = torch.randn(2, 1, 2, 5, 32, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    positions = random_positions(5)
    moved = positions + torch.tensor([7.0, -3.0, 2.5], dtype=torch.float64)
    scores = [
        rotate(query, make_rotary(p, 32)) @ rotate(key, make_rotary(p, 32)).transpose(-1, -2)
        for p in (positions, moved)
    ]
    torch.testing.assert_close(*scores)
    assert not torch.allclose(scores[0], query @ key.transpose(-1, -2))


def test_rotation_is_the_complex_product():
    x = torch.randn(1, 1, 3, 8, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    positions = random_positions(3)
    turned = torch.complex(x[..., :4], x[..., 4:]) * torch.polar(
        torch.ones(1, 1, 3, 4, dtype=torch.float64),
        torch.stack([positions[..., 0], positions[..., 0] * 10_000**-0.5, positions[..., 1], positions[..., 2]], -1)[
            :, None
        ],
    )
    torch.testing.assert_close(rotate(x, make_rotary(positions, 8)), torch.cat([turned.real, turned.imag], -1))


def test_every_axis_turns_something():
    for axis in range(3):
        positions = torch.zeros(1, 1, 3)
        positions[..., axis] = 1
        assert make_rotary(positions, 12).sin.abs().max() > 0.5


@pytest.mark.parametrize("head_width", [6, 32, 48, 128])
def test_axes_share_all_planes(head_width):
    assert sum(axis_widths(head_width)) == head_width // 2
    assert min(axis_widths(head_width)) > 0


def test_odd_heads_are_refused():
    with pytest.raises(ValueError, match="head width of 7 must be even"):
        axis_widths(7)
