import numpy as np
import pytest

from lpm.metric import EnergyRatio, Freeze, energy_ratio, freeze, longest_freeze

FPS = 24.0
NOISE = [0.02, 0.1]


def moving(frames: int = 96, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(frames, 2)).cumsum(0)


def test_freeze_equals_a_loop():
    half = moving()
    half[48:] = half[48]
    windows = [half[i : i + 24].std(0, ddof=1) for i in range(73)]
    expected = np.mean([(w < 3 * np.array(NOISE)).all() for w in windows])
    assert freeze(half, NOISE, FPS) == pytest.approx(expected)
    assert longest_freeze(half, NOISE, FPS) == pytest.approx(2.0, abs=0.1)


def test_freeze_of_still_noise_and_of_motion():
    noise = np.random.default_rng(1).normal(size=(96, 2)) * NOISE
    assert freeze(noise, NOISE, FPS) == 1 and longest_freeze(noise, NOISE, FPS) == 4.0
    assert freeze(moving(), NOISE, FPS) == 0 and longest_freeze(moving(), NOISE, FPS) == 0


@pytest.mark.parametrize("gain", [0.25, 1.0, 3.0])
def test_energy_ratio_is_the_log_of_the_gain(gain):
    assert energy_ratio(gain * moving(), moving(), floor=0) == pytest.approx(np.log(gain))


def test_energy_ratio_of_a_still_clip_is_finite():
    assert -np.inf < energy_ratio(np.zeros((96, 2)), moving()) < -5


def test_metrics_average_clips():
    frozen, energy = Freeze(FPS, NOISE), EnergyRatio()
    for gain in (0.0, 1.0):
        frozen.update(gain * moving())
        energy.update((0.5 + gain) * moving(), moving())
    assert frozen.compute().value == 0.5
    assert energy.compute().value == pytest.approx((np.log(0.5) + np.log(1.5)) / 2, abs=1e-3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: freeze(moving(20), NOISE, FPS), "one second"),
        (lambda: freeze(moving(), [0.1], FPS), "readout noise"),
        (lambda: energy_ratio(moving()[:, :1], moving()), "columns"),
        (lambda: energy_ratio(moving(1), moving(1)), "longer clip"),
        (lambda: Freeze(-1.0, NOISE), "fps"),
    ],
)
def test_bad_signals_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
