"""Sung syllables with exact mouths: a pulse train through formants, with vibrato and a sequence of notes."""

from __future__ import annotations

import numpy as np

from lpm.data.puppets.espeak import SAMPLE_RATE, Phoneme, Utterance

SCALE = (0, 2, 4, 5, 7, 9, 11, 12)  # semitones of a major scale
FORMANTS = {  # Hz; vowels of Peterson & Barney 1952 but o; o and m are typical values
    "ɑ": (730, 1090, 2440),
    "i": (270, 2290, 3010),
    "u": (300, 870, 2240),
    "ɛ": (530, 1840, 2480),
    "o": (450, 800, 2830),
    "m": (250, 1100, 2300),
}
BANDWIDTHS = (80, 100, 140)  # Hz
VOWELS = ("ɑ", "i", "u", "ɛ", "o")
VIBRATO_RATE, VIBRATO_CENTS = 5.5, 35
NOTE_SECONDS = (0.35, 0.9)
HUM_SECONDS = 0.12  # length of an m before a vowel
EDGE = 0.03  # seconds of attack and release


def sing(rng: np.random.Generator, seconds: float, base: float = 200.0) -> Utterance:
    """Sing a phrase of vowels, some begun with m, on a random walk over a major scale.

    Args:
        rng: source of chance.
        seconds: length of the phrase; the last note is shortened to it.
        base: frequency in Hz of the lowest note.

    Raises:
        ValueError: the phrase is shorter than a note.
    """
    seconds = max(seconds, NOTE_SECONDS[0])
    samples = np.zeros(round(seconds * SAMPLE_RATE))
    phonemes: list[Phoneme] = []
    text: list[str] = []
    moment, degree = 0.0, int(rng.integers(len(SCALE)))
    while moment < seconds - NOTE_SECONDS[0] / 2:
        end = min(moment + rng.uniform(*NOTE_SECONDS), seconds)
        vowel = VOWELS[rng.integers(len(VOWELS))]
        hum = HUM_SECONDS if rng.random() < 0.5 else 0.0
        pitch = base * 2 ** (SCALE[degree] / 12)
        for sound, start, stop in (("m", moment, moment + hum), (vowel, moment + hum, end)):
            if stop - start > EDGE:
                phonemes.append(Phoneme(start, stop, sound))
                _add(samples, _note(sound, pitch, start, stop), start)
        text.append("m" * (hum > 0) + vowel)
        degree = int(np.clip(degree + rng.integers(-2, 3), 0, len(SCALE) - 1))
        moment = end
    return Utterance((samples * 0.5).astype(np.float32), phonemes, " ".join(text), "song", [phonemes[-1].end])


def _note(sound: str, pitch: float, start: float, stop: float) -> np.ndarray:
    """Return one sound: a band-limited pulse train, filtered by its formants in the frequency domain."""
    times = np.arange(round(stop * SAMPLE_RATE) - round(start * SAMPLE_RATE)) / SAMPLE_RATE + start
    cents = VIBRATO_CENTS * np.sin(2 * np.pi * VIBRATO_RATE * times)
    half_phase = np.pi * np.cumsum(pitch * 2 ** (cents / 1200)) / SAMPLE_RATE + 1e-4
    harmonics = int(0.45 * SAMPLE_RATE / pitch)
    pulses = np.sin((2 * harmonics + 1) * half_phase) / np.sin(half_phase) - 1  # Dirichlet kernel: equal harmonics
    frequency = np.fft.rfftfreq(len(times), 1 / SAMPLE_RATE)
    voice = np.fft.irfft(np.fft.rfft(pulses) * _response(sound, frequency), len(times))
    level = (0.25 if sound == "m" else 1.0) / max(1e-9, np.abs(voice).max())
    edge = np.clip(np.minimum(times - start, stop - times) / EDGE, 0, 1)
    return voice * level * edge


def _response(sound: str, frequency: np.ndarray) -> np.ndarray:
    """Return the gain of parallel resonances over a glottal slope of 6 dB an octave."""
    gain = np.zeros_like(frequency)
    for index, (centre, bandwidth) in enumerate(zip(FORMANTS[sound], BANDWIDTHS, strict=True)):
        gain += 0.5**index / np.sqrt(1 + ((frequency - centre) / (bandwidth / 2)) ** 2)
    return gain * 200 / np.maximum(frequency, 200)


def _add(samples: np.ndarray, piece: np.ndarray, start: float) -> None:
    first = round(start * SAMPLE_RATE)
    piece = piece[: len(samples) - first]
    samples[first : first + len(piece)] += piece
