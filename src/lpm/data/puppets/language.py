"""What puppets say: sentence grammars, voices and backchannels per language.

A grammar is templates with slots. A sentence belongs to exactly one split, decided by its hash, so training and
held-out sentences never meet.
"""

from __future__ import annotations

import hashlib
import itertools
import string
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from lpm.data.puppets.espeak import Utterance, synthesise
from lpm.data.puppets.language_english import ENGLISH
from lpm.data.puppets.language_european import GERMAN, SPANISH
from lpm.data.puppets.language_grammar import Grammar
from lpm.data.puppets.language_mandarin import MANDARIN

SPLITS = ("train", "val", "test")
SPLIT_SHARES = (0.8, 0.1, 0.1)
ATTEMPTS = 200  # draws before a split is given up; at a share of 0.1 the chance to miss is below 1e-9


LANGUAGES = {"en": ENGLISH, "zh": MANDARIN, "es": SPANISH, "de": GERMAN}
MAIN_LANGUAGES = ("en", "zh")  # drawn when a scene names none


@dataclass(frozen=True)
class Voice:
    """How a character sounds: espeak name, words a minute, pitch and pitch range in 0 to 99, loudness factor."""

    name: str
    language: str
    rate: int
    pitch: int
    pitch_range: int
    gain: float


FEMALE_VARIANTS = ("f1", "f2", "f3", "f4", "f5", "Annie", "anika", "linda", "belinda", "steph")
MALE_VARIANTS = ("m1", "m2", "m3", "m4", "m5", "m6", "m7", "m8", "Alex", "Gene", "Lee", "ed")


def sentence(
    language: str, rng: np.random.Generator, split: str = "train", kind: str = "statement", emotion: str = "neutral"
) -> str:
    """Draw a sentence of a split.

    Args:
        language: key of ``LANGUAGES``.
        rng: source of chance.
        split: "train", "val" or "test".
        kind: "statement", "question" or "exclamation".
        emotion: picks the exclamations; without any of its own the neutral statements serve.
    """
    if split not in SPLITS:
        raise ValueError(f"split {split!r} is unknown; choose one of {', '.join(SPLITS)}")
    language_grammar = grammar(language)
    templates = _templates(language_grammar, kind, emotion)
    for _ in range(ATTEMPTS):
        template = templates[rng.integers(len(templates))]
        text = template.format(**{slot: _choose(language_grammar.words[slot], rng) for slot in _slots(template)})
        text = text[0].upper() + text[1:]
        if split_of(text) == split:
            return text
    raise ValueError(f"no {kind} of split {split!r} in {language!r} after {ATTEMPTS} draws; add words to its grammar")


def split_of(text: str) -> str:
    """Return the split a sentence belongs to, from the hash of its text."""
    draw = int.from_bytes(hashlib.blake2s(text.encode(), digest_size=4).digest(), "big") / 2**32
    return SPLITS[int(np.searchsorted(np.cumsum(SPLIT_SHARES[:-1]), draw, side="right"))]


def sentences(language: str) -> Iterator[str]:
    """Yield every sentence of a language."""
    language_grammar = grammar(language)
    exclamations = tuple(itertools.chain(*language_grammar.exclamations.values()))
    for template in (*language_grammar.statements, *language_grammar.questions, *exclamations):
        slots = _slots(template)
        for words in itertools.product(*(dict.fromkeys(language_grammar.words[slot]) for slot in slots)):
            text = template.format(**dict(zip(slots, words, strict=True)))
            yield text[0].upper() + text[1:]


def sample_voice(language: str, rng: np.random.Generator) -> Voice:
    """Draw a voice: accent, one of 22 variants of two genders, rate, pitch and loudness."""
    female = rng.random() < 0.5
    accent = _choose(grammar(language).voices, rng)
    variant = _choose(FEMALE_VARIANTS if female else MALE_VARIANTS, rng)
    pitch = rng.integers(45, 75) if female else rng.integers(28, 58)
    rate, pitch_range = int(rng.integers(140, 190)), int(rng.integers(35, 65))
    return Voice(f"{accent}+{variant}", language, rate, int(pitch), pitch_range, float(rng.uniform(0.55, 0.9)))


def say(text: str, voice: Voice, rate: int = 0, pitch: int = 0, pitch_range: int = 0) -> Utterance:
    """Speak a text in a voice; ``rate``, ``pitch`` and ``pitch_range`` are added to the voice's own (a mood)."""
    spoken = synthesise(
        text,
        voice.name,
        int(np.clip(voice.rate + rate, 80, 450)),
        int(np.clip(voice.pitch + pitch, 0, 99)),
        int(np.clip(voice.pitch_range + pitch_range, 0, 99)),
        voice.language,
    )
    np.clip(spoken.samples * np.float32(voice.gain), -1, 1, out=spoken.samples)
    return spoken


def grammar(language: str) -> Grammar:
    """Return the grammar of a language."""
    if language not in LANGUAGES:
        raise ValueError(f"language {language!r} is unknown; choose one of {', '.join(LANGUAGES)}")
    return LANGUAGES[language]


def _templates(language_grammar: Grammar, kind: str, emotion: str) -> tuple[str, ...]:
    if kind == "question":
        return language_grammar.questions
    if kind == "exclamation" and emotion in language_grammar.exclamations:
        return language_grammar.exclamations[emotion]
    return language_grammar.statements


def _slots(template: str) -> list[str]:
    return [name for _, name, _, _ in string.Formatter().parse(template) if name]


def _choose(options: tuple[str, ...], rng: np.random.Generator) -> str:
    return options[rng.integers(len(options))]
