"""The form of a sentence grammar."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Grammar:
    """Templates and words of one language.

    Attributes:
        name: English name of the language.
        statements, questions: templates; ``{slot}`` stands for one of ``words[slot]``.
        exclamations: templates by emotion.
        words: choices by slot.
        backchannels: what a listener murmurs, as text or espeak mnemonics.
        voices: espeak voices without variant.
    """

    name: str
    statements: tuple[str, ...]
    questions: tuple[str, ...]
    exclamations: dict[str, tuple[str, ...]]
    words: dict[str, tuple[str, ...]]
    backchannels: tuple[str, ...]
    voices: tuple[str, ...]


def choices(words: str) -> tuple[str, ...]:
    """Return the words of a slot, written with bars between them.

    >>> choices("a cup | the moon")
    ('a cup', 'the moon')
    """
    return tuple(words.split(" | "))
