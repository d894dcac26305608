"""Mouth shapes from phonemes: targets per sound, joined by coarticulation.

The jaw follows the sound closely; lips spread and round ahead of it, as speakers' lips do (Bell-Berti & Harris, 1979,
"Anticipatory coarticulation"). ``JAW_LEAD`` stays inside one frame at 24 fps, so audio and mouth agree to one frame.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lpm.data.puppets.espeak import STRESS, Phoneme

JAW_LEAD = 0.01  # seconds the opening runs ahead of the sound
LIP_LEAD = 0.08  # seconds rounding and spreading run ahead of the sound
SMOOTHING = 0.025  # standard deviation in seconds of the transitions
CLOSED_SPAN = 0.05  # shortest time lips stay together in p, b, m: longer than a frame at 24 fps
RELEASE = 0.05  # seconds between contact and full opening
BURST_LEAD = 0.045  # espeak marks p, t, k at the burst; the silence of contact comes before

REACH = JAW_LEAD + 3 * SMOOTHING + 0.01  # seconds beyond its first and last sound that the mouth may be open

CHANNELS = ("aperture", "width", "round", "tongue")


class Shape(NamedTuple):
    """Mouth target: aperture [0, 1], width [-1, 1], round [0, 1], tongue [0, 1]."""

    aperture: float
    width: float
    round: float
    tongue: float


REST = Shape(0.0, 0.0, 0.0, 0.0)
VOWELS = {
    "ɑɒ": Shape(0.92, 0.0, 0.1, 0.1),
    "aä": Shape(0.95, 0.2, 0.0, 0.15),
    "æ": Shape(0.85, 0.45, 0.0, 0.15),
    "ʌɐ": Shape(0.72, 0.1, 0.0, 0.1),
    "ɔ": Shape(0.75, -0.2, 0.6, 0.1),
    "oɤ": Shape(0.55, -0.3, 0.8, 0.05),
    "uʊɯʉ": Shape(0.36, -0.5, 1.0, 0.0),
    "yøœʏ": Shape(0.34, -0.4, 0.9, 0.2),
    "iɪɨ": Shape(0.42, 0.85, 0.0, 0.3),
    "eɛ": Shape(0.58, 0.55, 0.0, 0.25),
    "əɘᵻ": Shape(0.48, 0.1, 0.05, 0.15),
    "ɜɚɝ": Shape(0.5, -0.1, 0.35, 0.2),
}
CONSONANTS = {
    "pbmβ": Shape(0.0, 0.0, 0.0, 0.0),
    "fvɱʋ": Shape(0.06, 0.2, 0.0, 0.0),
    "θð": Shape(0.2, 0.1, 0.0, 1.0),
    "szɕʑ": Shape(0.14, 0.5, 0.0, 0.1),
    "ʃʒʂʐç": Shape(0.18, -0.2, 0.6, 0.1),
    "tdnɾɲʈɖɳ": Shape(0.18, 0.2, 0.0, 0.5),
    "lɫʎɭ": Shape(0.22, 0.15, 0.0, 0.8),
    "ɹrɻʁɐ̯": Shape(0.22, -0.15, 0.45, 0.2),
    "kɡgŋxχɣqɴ": Shape(0.2, 0.1, 0.0, 0.0),
    "hɦʔ": Shape(0.26, 0.05, 0.0, 0.0),
    "jɥʝʲ": Shape(0.22, 0.7, 0.1, 0.3),
    "wʍ": Shape(0.14, -0.5, 1.0, 0.0),
}
SHAPES = {symbol: shape for group in (CONSONANTS, VOWELS) for symbols, shape in group.items() for symbol in symbols}
BILABIALS, LABIODENTALS, VOICELESS_STOPS = frozenset("pbm"), frozenset("fvɱʋ"), frozenset("ptkq")
CONTACT = {**dict.fromkeys(BILABIALS, 0.0), **dict.fromkeys(LABIODENTALS, 0.06)}  # aperture while the lips touch


def symbols(ipa: str) -> list[str]:
    """Return the sounds of a phoneme, without stress, length, tone and other marks.

    >>> symbols("ˈaɪ"), symbols("tʃ"), symbols("ɔːɹ")
    (['a', 'ɪ'], ['t', 'ʃ'], ['ɔ', 'ɹ'])
    """
    return [symbol for symbol in ipa if symbol in SHAPES]


def mouth_track(phonemes: list[Phoneme], times: np.ndarray, articulation: float = 1.0) -> np.ndarray:
    """Return the mouth (N, 4) in the order of ``CHANNELS`` at evenly spaced times.

    Before the first and after the last sound, and in silences, the mouth rests closed.

    Args:
        phonemes: sounds in the clock of ``times``, in order.
        times: seconds (N,), evenly spaced, at least 100 a second.
        articulation: scales the opening; 1 is plain speech.
    """
    sounds = [sound for phoneme in phonemes for sound in _split(phoneme)]
    track = np.zeros((len(times), len(CHANNELS)))
    if not sounds or len(times) < 2:
        return track
    step = times[1] - times[0]
    for channel, lead in enumerate((JAW_LEAD, LIP_LEAD, LIP_LEAD, JAW_LEAD)):
        track[:, channel] = _smooth(_targets(sounds, times + lead, channel), SMOOTHING / step)
    track[:, 0] *= articulation
    _touch_lips(track, sounds, times)
    return np.clip(track, (0, -1, 0, 0), 1)


def _split(phoneme: Phoneme) -> list[tuple[float, float, str, float]]:
    """Return (start, end, symbol, opening) of each sound, in equal parts; contact of p, t, k precedes the burst."""
    parts = symbols(phoneme.ipa) or ["ə"]
    start = phoneme.start - (BURST_LEAD if parts[0] in VOICELESS_STOPS else 0.0)
    edges = np.linspace(start, phoneme.end, len(parts) + 1)
    stress = 1.0 if STRESS in phoneme.ipa else 0.85
    return [(edges[i], edges[i + 1], part, stress) for i, part in enumerate(parts)]


def _targets(sounds: list[tuple[float, float, str, float]], times: np.ndarray, channel: int) -> np.ndarray:
    """Return one channel's targets as a staircase; a later sound wins where contact overlaps its predecessor."""
    starts = np.array([sound[0] for sound in sounds])
    ends = np.array([sound[1] for sound in sounds])
    values = np.array([SHAPES[sound[2]][channel] * (sound[3] if channel == 0 else 1.0) for sound in sounds])
    index = np.clip(np.searchsorted(starts, times, side="right") - 1, 0, None)
    inside = (times >= starts[index]) & (times < ends[index])
    return np.where(inside, values[index], 0.0)


def _smooth(values: np.ndarray, deviation: float) -> np.ndarray:
    """Convolve with a Gaussian cut at three deviations, so that rest is exactly rest."""
    reach = int(np.ceil(3 * deviation))
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / deviation) ** 2)
    return np.convolve(values, kernel / kernel.sum(), mode="same")


def _touch_lips(track: np.ndarray, sounds: list[tuple[float, float, str, float]], times: np.ndarray) -> None:
    """Pull the aperture to its contact value during p, b, m (closed) and f, v (lip on teeth)."""
    for start, end, symbol, _ in sounds:
        if symbol not in CONTACT:
            continue
        middle, half = (start + end) / 2, max(end - start, CLOSED_SPAN) / 2
        first, last = np.searchsorted(times, (middle - half - RELEASE, middle + half + RELEASE))
        distance = np.abs(times[first:last] - middle) - half
        opening = np.clip(distance / RELEASE, 0, 1) ** 2
        contact = CONTACT[symbol]
        aperture = track[first:last, 0]
        track[first:last, 0] = np.minimum(aperture, contact + opening * np.maximum(aperture - contact, 0))
