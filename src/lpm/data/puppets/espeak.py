"""Speech with exact phoneme times from espeak-ng, called through ctypes.

espeak-ng is GPL-3 and therefore never shipped: the wheel ``espeakng-loader`` brings the library and its voices, and it
is loaded when the first sentence is spoken. Its waveform depends on all the process has synthesised before, so a
shard is reproducible when one fresh process makes it, calls :func:`seed_engine` and speaks in a fixed order.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import av
import numpy as np

SAMPLE_RATE = 16_000
STRESS = "ˈ"

_EVENT_LIST_END, _EVENT_CLAUSE_END, _EVENT_PHONEME = 0, 5, 7
_SYNCHRONOUS, _WITH_IPA_EVENTS = 2, 0x8003  # 0x8000: never exit() the process when the voice data is missing
_UTF8, _PHONEME_INPUT = 1, 0x100
_RATE, _PITCH, _PITCH_RANGE = 1, 3, 4
_BYTES_PER_IPA = 8


class Phoneme(NamedTuple):
    """A sound of an utterance: start and end in seconds from its first sample, and its IPA symbols (stress kept)."""

    start: float
    end: float
    ipa: str


@dataclass(frozen=True)
class Utterance:
    """Something said, with the times of what was said.

    Attributes:
        samples: float32 in [-1, 1] at 16 kHz.
        phonemes: sounds in order; silences are left out.
        text: the words.
        language: key of ``LANGUAGES``.
        phrase_ends: end in seconds of the last sound of each clause; the last one ends the utterance.
    """

    samples: np.ndarray
    phonemes: list[Phoneme]
    text: str
    language: str
    phrase_ends: list[float] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """Length of the waveform."""
        return len(self.samples) / SAMPLE_RATE


def synthesise(
    text: str, voice: str = "en-us", rate: int = 170, pitch: int = 50, pitch_range: int = 50, language: str = "en"
) -> Utterance:
    """Speak a text with espeak-ng.

    Args:
        text: plain text, or espeak mnemonics in ``[[ ]]``.
        voice: espeak voice and variant, as ``en-us+f3``.
        rate: words a minute, 80 to 450.
        pitch: 0 to 99.
        pitch_range: 0 (monotone) to 99.
        language: copied into the result.

    Raises:
        ImportError: espeakng-loader is not installed.
        ValueError: the voice is unknown or a number is out of range.
    """
    for name, value, low, high in (
        ("rate", rate, 80, 450),
        ("pitch", pitch, 0, 99),
        ("pitch_range", pitch_range, 0, 99),
    ):
        if not low <= value <= high:
            raise ValueError(f"{name} of {value} is outside {low} to {high}; choose a value between them")
    engine = _engine()
    if engine.library.espeak_SetVoiceByName(voice.encode()) != 0:
        raise ValueError(f"espeak-ng has no voice {voice!r}; `espeak-ng --voices` lists them, as en-us or cmn")
    for parameter, value in ((_RATE, rate), (_PITCH, pitch), (_PITCH_RANGE, pitch_range)):
        engine.library.espeak_SetParameter(parameter, value, 0)
    engine.pieces.clear()
    engine.events.clear()
    encoded = text.encode()
    engine.library.espeak_Synth(encoded, len(encoded) + 1, 0, 1, 0, _UTF8 | _PHONEME_INPUT, None, None)
    engine.library.espeak_Synchronize()
    pcm = np.concatenate(engine.pieces) if engine.pieces else np.zeros(1, np.int16)
    phonemes, phrase_ends = _timeline(engine.events, len(pcm), engine.rate)
    return Utterance(_resample(pcm, engine.rate), phonemes, text, language, phrase_ends)


def seed_engine(seed: int) -> None:
    """Seed espeak-ng's noise; with the same calls afterwards, a fresh process repeats its samples exactly."""
    _engine().library.espeak_ng_SetRandSeed(seed & 0x7FFFFFFF)


class _Id(ctypes.Union):
    _fields_ = [("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * _BYTES_PER_IPA)]


class _Event(ctypes.Structure):
    _fields_ = [
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _Id),
    ]


@dataclass
class _Engine:
    library: ctypes.CDLL
    rate: int
    pieces: list[np.ndarray]
    events: list[tuple[int, int, str]]  # type, sample, IPA
    callback: Callable[..., int]  # kept alive: C holds only its address


@functools.cache
def _engine() -> _Engine:
    """Load and initialise the library once in a process."""
    try:
        import espeakng_loader
    except ImportError as error:
        raise ImportError('the puppets speak with espeak-ng; install it with `pip install "lpm[puppets]"`') from error
    library = ctypes.CDLL(espeakng_loader.get_library_path())
    pieces: list[np.ndarray] = []
    events: list[tuple[int, int, str]] = []

    def receive(wave: Any, count: int, event: Any) -> int:
        if wave and count > 0:
            pieces.append(np.ctypeslib.as_array(wave, shape=(count,)).copy())
        index = 0
        while event[index].type != _EVENT_LIST_END:
            kind = event[index].type
            ipa = event[index].id.string.decode("utf-8", "ignore") if kind == _EVENT_PHONEME else ""
            events.append((kind, event[index].sample, ipa))
            index += 1
        return 0

    signature = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))
    callback = signature(receive)
    library.espeak_Synth.argtypes = [
        ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint, ctypes.c_int, ctypes.c_uint, ctypes.c_uint,
        ctypes.POINTER(ctypes.c_uint), ctypes.c_void_p,
    ]  # fmt: skip
    library.espeak_ng_SetRandSeed.argtypes = [ctypes.c_long]
    rate = library.espeak_Initialize(_SYNCHRONOUS, 0, espeakng_loader.get_data_path().encode(), _WITH_IPA_EVENTS)
    if rate <= 0:
        raise RuntimeError(
            'espeak-ng found no voice data; reinstall it with `pip install --force-reinstall "lpm[puppets]"`'
        )
    library.espeak_SetSynthCallback(callback)
    return _Engine(library, rate, pieces, events, callback)


def _timeline(events: list[tuple[int, int, str]], length: int, rate: int) -> tuple[list[Phoneme], list[float]]:
    """Turn phoneme starts into spans, and clause marks into the ends of their last sounds."""
    marks = [event for event in events if event[0] in (_EVENT_PHONEME, _EVENT_CLAUSE_END)]
    phonemes: list[Phoneme] = []
    phrase_ends: list[float] = []
    for index, (kind, start, ipa) in enumerate(marks):
        if kind == _EVENT_CLAUSE_END:
            if phonemes and phonemes[-1].end not in phrase_ends[-1:]:
                phrase_ends.append(phonemes[-1].end)
            continue
        end = marks[index + 1][1] if index + 1 < len(marks) else length
        if ipa and end > start:
            phonemes.append(Phoneme(start / rate, end / rate, ipa))
    return phonemes, phrase_ends


def _resample(pcm: np.ndarray, rate: int) -> np.ndarray:
    """Return int16 samples as float32 at 16 kHz without delay (the filter is flushed, its latency removed)."""
    resampler = av.AudioResampler(format="fltp", layout="mono", rate=SAMPLE_RATE)
    frame = av.AudioFrame.from_ndarray(pcm[None], format="s16", layout="mono")
    frame.sample_rate = rate
    pieces = [part.to_ndarray()[0] for part in (*resampler.resample(frame), *resampler.resample(None))]
    return np.concatenate(pieces).astype(np.float32)
