import torch
from torch.nn.functional import grid_sample

from lpm.codec.move import REACH, Move, warp


def test_whole_pixels_are_a_shift():
    picture = torch.rand(2, 3, 8, 10)
    flow = torch.zeros(2, 2, 8, 10)
    flow[:, 0], flow[:, 1] = 3.0, -2.0
    moved = warp(picture, flow)
    torch.testing.assert_close(moved[:, :, 2:, :7], picture[:, :, :6, 3:])
    torch.testing.assert_close(moved[:, :, 0, 0], picture[:, :, 0, 3])  # the edge repeats


def test_fractions_are_interpolated():
    ramp = torch.arange(12.0).expand(1, 1, 6, 12)
    moved = warp(ramp, torch.full((1, 2, 6, 12), 0.25))
    torch.testing.assert_close(moved[..., :11], ramp[..., :11] + 0.25)


def test_warp_agrees_with_an_affine_grid():
    picture = torch.rand(1, 3, 16, 16, dtype=torch.float64)
    turn = torch.tensor([[[0.9, -0.2, 0.1], [0.2, 0.9, -0.05]]], dtype=torch.float64)
    grid = torch.nn.functional.affine_grid(turn, [1, 3, 16, 16], align_corners=True)
    expected = grid_sample(picture, grid, padding_mode="border", align_corners=True)
    place = torch.nn.functional.affine_grid(torch.eye(2, 3, dtype=torch.float64)[None], [1, 3, 16, 16], align_corners=True)
    flow = ((grid - place) * 7.5).permute(0, 3, 1, 2)
    torch.testing.assert_close(warp(picture, flow), expected)


def test_a_fresh_move_shows_the_first_picture_in_every_frame_and_hardly_counts():
    move, first = Move(frames=4, width=8), torch.rand(2, 3, 16, 16)
    moved, share = move(torch.randn(2, 8, 8, 8), first)
    torch.testing.assert_close(moved, first.repeat(1, 4, 1, 1))
    assert share.shape == moved.shape and share.max() < 0.05


def test_a_flow_can_be_learnt_from_features():
    """A few steps of gradient descent find a shift of two pixels."""
    torch.manual_seed(0)
    move, first = Move(frames=1, width=4), torch.zeros(1, 3, 16, 16)
    first[..., 4:12, 4:12] = 1.0
    first = torch.nn.functional.avg_pool2d(first, 5, stride=1, padding=2)
    target, features = first.roll(2, dims=-1), torch.ones(1, 4, 8, 8)
    optimizer = torch.optim.Adam(move.parameters(), 1e-2)
    for _ in range(150):
        loss = (move(features, first)[0] - target).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.02
    assert abs(REACH * move.out(features)[0, 0, 4, 4].item() + 2) < 0.5
