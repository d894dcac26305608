import numpy as np
import pytest

from lpm.metric import EnergyRatio, Freeze, MeanSpeed, energy_ratio, freeze, longest_freeze, mean_speed

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


def test_mean_speed_equals_a_loop_over_the_counted_frames():
    signals, counted = moving(), np.zeros(96, bool)
    counted[10:40] = counted[60:] = True
    smooth = [signals[i : i + 5].mean(0) for i in range(92)]
    steps = [np.linalg.norm(smooth[i + 1] - smooth[i]) for i in range(91) if counted[i : i + 6].all()]
    assert len(steps) == 25 + 31
    assert mean_speed(signals, FPS, counted) == pytest.approx(24 * np.mean(steps))
    assert mean_speed(signals, FPS, ~counted & False).isnan()


def test_mean_speed_is_of_motion_not_of_jitter():
    slow = np.arange(96)[:, None] / FPS * np.ones((1, 1))
    jitter = 0.1 * np.random.default_rng(2).normal(size=(96, 1))
    assert mean_speed(slow, FPS) == pytest.approx(1.0)
    assert mean_speed(slow + jitter, FPS) == pytest.approx(1.0, abs=0.15)
    assert mean_speed(slow + jitter, FPS, smooth=1) > 2.5


def test_metrics_average_clips():
    frozen, energy, speed = Freeze(FPS, NOISE), EnergyRatio(), MeanSpeed(FPS)
    for gain in (0.0, 1.0):
        frozen.update(gain * moving())
        energy.update((0.5 + gain) * moving(), moving())
        speed.update(gain * moving(), identity=f"S{gain}")
    assert frozen.compute().value == 0.5
    assert speed.compute().value == pytest.approx(mean_speed(moving(), FPS) / 2)
    assert energy.compute().value == pytest.approx((np.log(0.5) + np.log(1.5)) / 2, abs=1e-3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: freeze(moving(20), NOISE, FPS), "one second"),
        (lambda: freeze(moving(), [0.1], FPS), "readout noise"),
        (lambda: energy_ratio(moving()[:, :1], moving()), "columns"),
        (lambda: energy_ratio(moving(1), moving(1)), "longer clip"),
        (lambda: Freeze(-1.0, NOISE), "fps"),
        (lambda: mean_speed(moving(5), FPS), "5 frames is smoothed over 5"),
    ],
)
def test_bad_signals_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
