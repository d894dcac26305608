import math

import pytest
import torch

from lpm.sample import euler, heun, noise_levels


def gaussian_denoiser(mean, std):
    """The exact denoiser of clean data N(mean, std^2) on the straight path."""

    def denoise(noisy, t):
        variance = ((1 - t) * std) ** 2 + t**2
        return mean + (1 - t) * std**2 / variance * (noisy - (1 - t) * mean)

    return denoise


@pytest.mark.parametrize("solver", [euler, heun])
def test_one_point_of_data_is_found_exactly(solver):
    """The field is linear in x with straight paths: any number of steps is exact."""
    noise, target = torch.randn(5, dtype=torch.float64), torch.arange(5.0, dtype=torch.float64)
    for steps in (1, 3):
        torch.testing.assert_close(solver(lambda x, t: target, noise, noise_levels(steps, 3.0)), target)


@pytest.mark.parametrize(("solver", "order"), [(euler, 1), (heun, 2)])
def test_error_against_the_analytic_flow_falls_with_the_order(solver, order):
    """The flow of Gaussian data carries noise z to mean + std z."""
    mean, std = 2.0, 0.5
    noise = torch.linspace(-2, 2, 9, dtype=torch.float64)
    exact = mean + std * noise
    errors = [
        (solver(gaussian_denoiser(mean, std), noise, noise_levels(steps)) - exact).abs().max().item()
        for steps in (32, 64)
    ]
    assert errors[1] < 0.03
    assert math.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.25)


def test_levels_run_from_noise_to_clean():
    levels = noise_levels(5, 3.0)
    assert levels[0] == 1 and levels[-1] == 0 and len(levels) == 6
    assert levels == sorted(levels, reverse=True)
    with pytest.raises(ValueError, match="0 sampling steps"):
        noise_levels(0)
