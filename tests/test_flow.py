import pytest
import torch

from lpm import flow


@pytest.fixture
def path():
    generator = torch.Generator().manual_seed(0)
    clean, noise = torch.randn(2, 2, 3, 4, 2, 2, generator=generator, dtype=torch.float64)
    t = torch.rand(2, 3, generator=generator, dtype=torch.float64) * 0.9 + 0.1
    return clean, noise, t


def test_path_ends_at_clean_and_noise(path):
    clean, noise, t = path
    assert torch.equal(flow.interpolate(clean, noise, torch.zeros_like(t)), clean)
    assert torch.equal(flow.interpolate(clean, noise, torch.ones_like(t)), noise)


def test_velocity_is_the_derivative_of_the_path(path):
    clean, noise, t = path
    slope = (flow.interpolate(clean, noise, t + 1e-4) - flow.interpolate(clean, noise, t)) / 1e-4
    torch.testing.assert_close(slope, flow.velocity(clean, noise), rtol=1e-8, atol=1e-8)


def test_velocity_and_clean_convert_both_ways(path):
    clean, noise, t = path
    noisy = flow.interpolate(clean, noise, t)
    speed = flow.velocity(clean, noise)
    torch.testing.assert_close(flow.clean_from_velocity(speed, noisy, t), clean)
    torch.testing.assert_close(flow.velocity_from_clean(clean, noisy, t), speed)


def test_both_predictions_read_the_same_clean_data(path):
    clean, noise, t = path
    noisy = flow.interpolate(clean, noise, t)
    torch.testing.assert_close(flow.PredictVelocity().clean(noise - clean, noisy, t), clean)
    torch.testing.assert_close(flow.PredictClean().clean(clean, noisy, t), clean)


def test_each_frame_has_its_own_noise_level(path):
    clean, noise, t = path
    t[:, 0] = 0
    noisy = flow.interpolate(clean, noise, t)
    assert torch.equal(noisy[:, 0], clean[:, 0])
    assert not torch.equal(noisy[:, 1], clean[:, 1])


def test_time_shift_keeps_the_ends_and_composes():
    t = torch.linspace(0, 1, 11, dtype=torch.float64)
    shifted = flow.shift_time(t, 3.0)
    assert shifted[0] == 0 and shifted[-1] == 1
    assert (shifted[1:-1] > t[1:-1]).all()
    torch.testing.assert_close(flow.shift_time(shifted, 2.0), flow.shift_time(t, 6.0))
    with pytest.raises(ValueError, match="shift of 0 is not positive"):
        flow.shift_time(t, 0)


@pytest.mark.parametrize("coordinates", [flow.Absolute(), flow.Residual(0.4)])
def test_coordinates_round_trip_and_keep_the_first_frame(coordinates, path):
    clean = path[0]
    inside = coordinates.enter(clean)
    assert torch.equal(inside[:, 0], clean[:, 0])
    torch.testing.assert_close(coordinates.leave(inside), clean)


def test_residual_of_a_still_clip_is_zero_and_its_measured_scale_gives_unit_spread(path):
    still = path[0][:, :1].repeat(1, 3, 1, 1, 1)
    assert flow.Residual(0.4).enter(still)[:, 1:].abs().max() == 0
    clean = path[0]
    inside = flow.Residual(flow.residual_scale(clean)).enter(clean)[:, 1:]
    assert inside.std().item() == pytest.approx(1)


def test_preconditioned_prediction_starts_from_the_best_linear_guess(path):
    generator = torch.Generator().manual_seed(1)
    clean = 0.5 * torch.randn(1, 1, 1, 200, 200, generator=generator, dtype=torch.float64)
    noise = torch.randn(clean.shape, generator=generator, dtype=torch.float64)
    for level in (0.1, 0.5, 0.9):
        t = torch.full((1, 1), level, dtype=torch.float64)
        noisy = flow.interpolate(clean, noise, t)
        guess = flow.PredictPreconditioned(0.5).clean(torch.zeros_like(noisy), noisy, t)
        fitted = noisy * (noisy * clean).sum() / noisy.square().sum()  # least squares, from the samples
        torch.testing.assert_close(guess, fitted, atol=0.02, rtol=0)


def test_what_a_preconditioned_network_must_answer_has_unit_deviation_at_every_level(path):
    generator = torch.Generator().manual_seed(1)
    clean = 0.5 * torch.randn(1, 1, 1, 200, 200, generator=generator, dtype=torch.float64)
    noise = torch.randn(clean.shape, generator=generator, dtype=torch.float64)
    prediction = flow.PredictPreconditioned(0.5)
    for level in (0.05, 0.5, 1.0):
        t = torch.full((1, 1), level, dtype=torch.float64)
        noisy = flow.interpolate(clean, noise, t)
        skip = prediction.clean(torch.zeros_like(noisy), noisy, t)
        out = prediction.clean(torch.ones_like(noisy), noisy, t) - skip
        assert ((clean - skip) / out).std().item() == pytest.approx(1, abs=0.02)


def test_preconditioned_prediction_keeps_clean_history(path):
    clean, noise, t = path
    t[:, 0] = 0
    guess = flow.PredictPreconditioned(0.5).clean(noise, flow.interpolate(clean, noise, t), t)
    torch.testing.assert_close(guess[:, 0], clean[:, 0])
    with pytest.raises(ValueError, match="deviation of 0 is not positive"):
        flow.PredictPreconditioned(0)
