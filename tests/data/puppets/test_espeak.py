"""Speech: exact times, clean resampling, clear errors."""

import builtins
import hashlib
import subprocess
import sys

import numpy as np
import pytest

from lpm.data.puppets import espeak
from lpm.data.puppets.espeak import SAMPLE_RATE, synthesise

SCENE_HASH = """
import hashlib
from lpm.data.puppets.perform import perform
digest = hashlib.sha256()
for seed in (3, 4):
    for person in perform(seed, 2.0).people:
        digest.update(person.voice.tobytes() + person.controls.tobytes() + person.states.tobytes())
        digest.update(repr((person.events, person.caption)).encode())
print(digest.hexdigest())
"""


def loudness(samples, start, stop):
    return np.sqrt(np.mean(samples[round(start * SAMPLE_RATE) : round(stop * SAMPLE_RATE)] ** 2))


def test_phonemes_are_ordered_and_inside_the_waveform():
    said = synthesise("Maybe people buy apples, you know. Five more?")
    edges = [edge for phoneme in said.phonemes for edge in phoneme[:2]]
    assert edges == sorted(edges) and edges[0] >= 0 and edges[-1] <= said.seconds
    assert said.samples.dtype == np.float32 and np.abs(said.samples).max() <= 1
    assert len(said.phrase_ends) == 3  # a comma and two full stops
    assert said.phrase_ends[-1] == said.phonemes[-1].end


@pytest.mark.parametrize("voice", ["en-us+f3", "en-us+m1", "en-gb-x-rp+m3"])
def test_p_bursts_where_the_event_says(voice):
    said = synthesise("We stop the puppy, happy people pay a penny.", voice)
    bursts = [p for p in said.phonemes[1:] if p.ipa == "p"]
    assert len(bursts) >= 6
    for burst in bursts:
        assert loudness(said.samples, burst.start - 0.03, burst.start - 0.004) < 0.02
        assert loudness(said.samples, burst.start + 0.002, burst.start + 0.03) > 0.004


def test_resampling_keeps_time_to_a_sample():
    pcm = np.zeros(22_050, np.int16)
    clicks = (40, 5_000, 15_000, 21_900)
    pcm[list(clicks)] = 20_000
    samples = espeak._resample(pcm, 22_050)
    assert len(samples) == SAMPLE_RATE
    for click in clicks:
        expected = click * SAMPLE_RATE / 22_050
        near = slice(max(0, round(expected) - 100), round(expected) + 100)
        assert abs(near.start + np.argmax(np.abs(samples[near])) - expected) <= 1


def test_fresh_processes_repeat_a_scene_exactly():
    runs = [subprocess.Popen([sys.executable, "-c", SCENE_HASH], stdout=subprocess.PIPE) for _ in range(2)]
    first, second = (run.communicate(timeout=60)[0] for run in runs)
    assert len(first.strip()) == 2 * hashlib.sha256().digest_size
    assert first == second


def test_errors_name_the_cure(monkeypatch):
    with pytest.raises(ValueError, match="no voice 'no-such-voice'"):
        synthesise("Hello.", "no-such-voice")
    with pytest.raises(ValueError, match="rate of 20 is outside 80 to 450"):
        synthesise("Hello.", rate=20)
    imported = builtins.__import__
    monkeypatch.setattr(
        builtins, "__import__", lambda name, *rest: (_ for _ in ()).throw(ImportError(name))
        if name == "espeakng_loader" else imported(name, *rest)
    )  # fmt: skip
    with pytest.raises(ImportError, match=r'pip install "lpm\[puppets\]"'):
        espeak._engine.__wrapped__()
