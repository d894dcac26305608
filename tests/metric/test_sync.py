import numpy as np
import pytest
import torch
from scipy import signal, stats

from lpm.metric import (
    ApertureAgreement,
    AudioVisualOffset,
    ZeroLagSync,
    aperture_agreement,
    audio_visual_offset,
    lagged_correlation,
    loudness,
    zero_lag_sync,
)

FPS = 24.0


def syllables(frames: int = 240, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(size=frames + 40)
    return np.convolve(noise, np.hanning(7), "same")[20 : 20 + frames]


def test_agreement_equals_scipy_on_speaking_frames():
    truth, generated = syllables(), syllables() + 0.5 * syllables(seed=1)
    speaking = np.arange(240) < 100
    ours = aperture_agreement(generated, truth, speaking)
    assert ours == pytest.approx(stats.pearsonr(generated[:100], truth[:100]).statistic, abs=1e-12)


def test_agreement_of_a_still_mouth_is_zero_and_of_a_still_truth_undefined():
    assert aperture_agreement(np.zeros(240), syllables()) == 0
    assert aperture_agreement(syllables(), np.zeros(240)).isnan()
    assert aperture_agreement(syllables(), syllables(), np.arange(240) < 11).isnan()


def test_unread_frames_are_a_failure_beyond_two_per_cent():
    truth = syllables()
    few, many = np.arange(240) >= 4, np.arange(240) >= 60
    broken = np.where(few, truth, 50.0)
    assert aperture_agreement(broken, truth, valid_T=few) == pytest.approx(1)
    assert aperture_agreement(truth, truth, valid_T=many) < 0.95


def test_loudness_equals_a_filtered_rms():
    rng = np.random.default_rng(3)
    samples = rng.normal(size=16_000) * np.repeat(rng.uniform(0.01, 0.5, 25), 640)
    ours = loudness(samples, frames=25, fps=25.0).numpy()
    sos = signal.butter(8, [100, 4000], "bandpass", fs=16_000, output="sos")
    theirs = 20 * np.log10(np.sqrt((signal.sosfiltfilt(sos, samples).reshape(25, 640) ** 2).mean(1)))
    assert np.abs(ours - theirs).mean() < 0.5 and np.corrcoef(ours, theirs)[0, 1] > 0.99


def test_loudness_hears_only_the_speech_band_and_silence_after_the_end():
    rumble = np.sin(2 * np.pi * 40 * np.arange(16_000) / 16_000)
    assert loudness(rumble, 24, FPS).max() < -40
    hum = np.sin(2 * np.pi * 400 * np.arange(8_000) / 16_000)
    decibel = loudness(hum, 24, FPS)
    assert decibel[:11].min() == pytest.approx(-3.01, abs=0.1)
    assert decibel[13:].max() == pytest.approx(-60)


def test_lagged_correlation_equals_numpy():
    mouth, sound = syllables(), syllables(seed=1)
    ours = lagged_correlation(mouth, sound, max_lag=3)
    assert ours[5] == pytest.approx(np.corrcoef(mouth[2:], sound[:-2])[0, 1])
    assert ours[1] == pytest.approx(np.corrcoef(mouth[:-2], sound[2:])[0, 1])
    assert zero_lag_sync(mouth, sound) == pytest.approx(np.corrcoef(mouth, sound)[0, 1])


@pytest.mark.parametrize("shift", [-5, -2, 0, 2, 5])
def test_offset_finds_a_shift_that_zero_lag_punishes(shift):
    sound = syllables()
    mouth = np.roll(sound, shift)
    assert audio_visual_offset(mouth, sound, FPS) == pytest.approx(shift * 1000 / FPS, abs=3)
    assert (zero_lag_sync(mouth, sound) > 0.9) == (shift == 0)


def test_offset_is_finer_than_a_frame():
    time = np.arange(2400) / 240
    dense = np.interp(time, np.arange(240) / FPS, syllables())
    mouth, sound = dense[0:2390:10], dense[5:2395:10]
    assert audio_visual_offset(mouth, sound, FPS) == pytest.approx(500 / FPS, abs=4)


def test_offset_of_unrelated_or_still_mouths_is_undefined():
    assert audio_visual_offset(np.zeros(240), syllables(), FPS).isnan()
    ramp = np.linspace(0, 1, 240)
    assert audio_visual_offset(ramp, ramp, FPS).isnan()


def test_metrics_average_clips():
    sound = syllables()
    agreement, zero, offset = ApertureAgreement(), ZeroLagSync(), AudioVisualOffset(FPS)
    for shift in (-2, 2):
        mouth = np.roll(sound, shift)
        agreement.update(mouth, sound, identity=f"S{shift}")
        zero.update(mouth, sound)
        offset.update(mouth, sound)
    assert agreement.compute().value == pytest.approx(float(zero.compute().value))
    assert offset.compute().value == pytest.approx(2000 / FPS, abs=3)
    agreement.reset()
    with pytest.raises(ValueError, match="no clip"):
        agreement.compute()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: aperture_agreement(np.zeros(5), np.zeros(6)), "6"),
        (lambda: aperture_agreement(np.zeros((2, 5)), np.zeros(5)), "one number per frame"),
        (lambda: aperture_agreement(np.array([0.0, np.nan]), np.zeros(2)), "frame 1"),
        (lambda: aperture_agreement(np.zeros(5), np.zeros(5), np.ones(5)), "bool"),
        (lambda: audio_visual_offset(np.zeros(5), np.zeros(5), 0.0), "fps"),
        (lambda: loudness(np.zeros((2, 9)), 1, FPS), "samples"),
    ],
)
def test_bad_signals_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_metric_state_survives_a_round_trip():
    metric = ApertureAgreement()
    metric.persistent(True)
    metric.update(syllables(), syllables(), identity="S1")
    again = ApertureAgreement()
    again.persistent(True)
    again.load_state_dict(metric.state_dict())
    assert torch.equal(again.compute().value, metric.compute().value)
