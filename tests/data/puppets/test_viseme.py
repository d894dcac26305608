"""The mouth agrees with the sound."""

import numpy as np
import pytest

from lpm.data.puppets import viseme
from lpm.data.puppets.espeak import SAMPLE_RATE, Phoneme, synthesise
from lpm.data.puppets.sing import sing
from lpm.data.puppets.viseme import mouth_track

STEP = 1 / 200
TEXTS = ("My father bought a beautiful big house above the water.", "We never talked about apples, you know.")


def band_log_rms(samples, times):
    """Log-RMS between 100 Hz and 4 kHz in windows of 40 ms, as the sync metric hears it."""
    spectrum = np.fft.rfft(samples)
    frequency = np.fft.rfftfreq(len(samples), 1 / SAMPLE_RATE)
    spectrum[(frequency < 100) | (frequency > 4000)] = 0
    power = np.concatenate([[0.0], np.cumsum(np.fft.irfft(spectrum, len(samples)) ** 2)])
    first, last = (np.clip(((times + d) * SAMPLE_RATE).astype(int), 0, len(samples)) for d in (-0.02, 0.02))
    return np.log10((power[last] - power[first]) / np.maximum(last - first, 1) + 1e-5)


@pytest.mark.parametrize("voice", ["en-us+f3", "en-us+m1", "en-gb-x-rp+m3", "en-us+Annie", "cmn+f2"])
def test_mouth_and_audio_agree_to_one_frame(voice):
    texts = ("我妈妈今天买了一张地图。", "太好了，大家都笑了。") if "cmn" in voice else TEXTS
    lags = np.arange(-30, 31)
    scores = []
    for said in (synthesise(text, voice) for text in texts):
        times = np.arange(0, said.seconds, STEP)
        aperture = mouth_track(said.phonemes, times)[:, 0]
        heard = band_log_rms(said.samples, np.arange(lags[0], len(times) + lags[-1]) * STEP)
        shifted = (heard[30 + lag : 30 + lag + len(times)] for lag in lags)
        scores.append([np.corrcoef(aperture, sound)[0, 1] for sound in shifted])
    mean = np.mean(scores, axis=0)
    assert abs(lags[np.argmax(mean)] * STEP) <= 1 / 24
    assert mean[30] > 0.35 and mean[30] > np.maximum(mean[0], mean[-1]) + 0.2


def test_lips_close_in_bilabials_at_every_frame_phase():
    said = synthesise("Maybe Bob and my baby buy a map, a pub and a bumpy puppy.", rate=190)
    times = np.arange(0, said.seconds, STEP)
    aperture = mouth_track(said.phonemes, times)[:, 0]
    closures = [p for p in said.phonemes if p.ipa.strip("ˈˌ")[0] in "pbm"]
    assert len(closures) >= 14
    for sound in closures:
        inside = (times > sound.start - viseme.BURST_LEAD) & (times < sound.end + 0.02)
        closed = aperture[inside] <= 1e-9
        longest = max(len(run) for run in "".join("x" if value else " " for value in closed).split(" "))
        assert longest * STEP >= 1 / 24 - STEP, sound


def test_lip_touches_teeth_in_f_and_v():
    track = mouth_track(
        [Phoneme(0.1, 0.3, "a"), Phoneme(0.3, 0.4, "f"), Phoneme(0.4, 0.6, "a")], np.arange(0, 0.7, STEP)
    )
    assert 0.03 < track[70, 0] < 0.1 and track[40, 0] > 0.6


@pytest.mark.parametrize(("ipa", "low", "high"), [("l", 0.6, 1), ("θ", 0.8, 1), ("ð", 0.8, 1), ("n", 0.4, 0.6)])
def test_the_tongue_shows_in_sounds_that_it_makes(ipa, low, high):
    track = mouth_track(
        [Phoneme(0.1, 0.3, "a"), Phoneme(0.3, 0.4, ipa), Phoneme(0.4, 0.6, "a")], np.arange(0, 0.7, STEP)
    )
    assert low < track[70, 3] < high and track[40, 3] < 0.2


@pytest.mark.parametrize("ipa", ["k", "p", "f"])
def test_the_tongue_hides_in_other_sounds(ipa):
    track = mouth_track([Phoneme(0.1, 0.3, "a"), Phoneme(0.3, 0.4, ipa)], np.arange(0, 0.7, STEP))
    assert track[66, 3] < 0.05


def test_the_tongue_shows_in_speech():
    said = synthesise("Both of them will tell Lily the truth, although they loathe all those things.", rate=140)
    times = np.arange(0, said.seconds, STEP)
    tongue = mouth_track(said.phonemes, times)[:, 3]
    shown = np.zeros(len(times), bool)
    for sound in (p for p in said.phonemes if p.ipa.strip("ˈˌ")[0] in "lθð"):
        shown |= (times >= sound.start) & (times < sound.end)
    assert tongue[shown].mean() > 0.5 > 0.25 > tongue[~shown].mean()


def test_rounding_comes_before_the_opening():
    times = np.arange(0, 1, STEP)
    track = mouth_track([Phoneme(0.5, 0.8, "u")], times)
    onset = [times[np.argmax(track[:, channel] > 0.5 * track[:, channel].max())] for channel in (0, 2)]
    assert onset[0] - onset[1] == pytest.approx(viseme.LIP_LEAD - viseme.JAW_LEAD, abs=2 * STEP)


def test_silence_is_exactly_closed():
    times = np.arange(0, 2, STEP)
    track = mouth_track([Phoneme(0.5, 0.7, "a"), Phoneme(1.4, 1.5, "o")], times)
    outside = (times < 0.5 - viseme.REACH) | ((times > 0.7 + viseme.REACH) & (times < 1.4 - viseme.REACH))
    assert (track[outside, 0] == 0).all()
    assert not mouth_track([], times).any()


def test_sung_vowels_have_their_mouth_and_pitch():
    song = sing(np.random.default_rng(0), 4.0, 200.0)
    assert song.seconds == pytest.approx(4.0) and np.abs(song.samples).max() <= 1
    track = mouth_track(song.phonemes, np.arange(0, 4, STEP))
    long = [p for p in song.phonemes if p.end - p.start > 0.25]
    assert len(long) >= 4
    for note in long:
        middle = (note.start + note.end) / 2
        shape = viseme.SHAPES[note.ipa]
        assert track[round(middle / STEP), 0] == pytest.approx(0.85 * shape.aperture, abs=0.03)
        piece = song.samples[round((middle - 0.1) * SAMPLE_RATE) : round((middle + 0.1) * SAMPLE_RATE)]
        lag = 16 + np.argmax(np.correlate(piece, piece, "full")[len(piece) - 1 + 16 : len(piece) - 1 + 160])
        assert 150 < SAMPLE_RATE / lag < 1000
