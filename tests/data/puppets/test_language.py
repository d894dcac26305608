"""Sentences: many, distinct, and never shared between splits."""

import itertools

import numpy as np
import pytest

from lpm.data.puppets import language as languages
from lpm.data.puppets.behaviour import EMOTIONS
from lpm.data.puppets.language import LANGUAGES, SPLITS, sample_voice, say, sentence, sentences, split_of
from lpm.data.puppets.viseme import symbols


@pytest.mark.parametrize("name", LANGUAGES)
def test_each_language_has_5000_sentences_in_every_split(name):
    found = {split: set() for split in SPLITS}
    for text in itertools.islice(sentences(name), 62_000):
        found[split_of(text)].add(text)
    assert min(len(texts) for texts in found.values()) >= 5_000


@pytest.mark.parametrize("name", LANGUAGES)
def test_drawn_sentences_keep_to_their_split(name):
    rng = np.random.default_rng(0)
    drawn = {split: set() for split in SPLITS}
    for split in SPLITS:
        for kind, emotion in itertools.product(("statement", "question", "exclamation"), (*EMOTIONS, "neutral")):
            drawn[split] |= {sentence(name, rng, split, kind, emotion) for _ in range(10)}
    assert all({split_of(text) for text in texts} == {split} for split, texts in drawn.items())
    assert not drawn["train"] & drawn["test"] and not drawn["train"] & drawn["val"]
    assert len(drawn["train"]) > 100
    assert not any("{" in text or "  " in text for texts in drawn.values() for text in texts)


@pytest.mark.parametrize("name", LANGUAGES)
def test_voices_speak_and_every_sound_has_a_mouth_shape(name):
    rng = np.random.default_rng(1)
    for _ in range(6):
        said = say(sentence(name, rng), sample_voice(name, rng))
        assert said.seconds > 0.5 and np.abs(said.samples).max() > 0.05
        assert all(symbols(phoneme.ipa) for phoneme in said.phonemes)


def test_every_variant_of_voice_exists():
    for variant in (*languages.FEMALE_VARIANTS, *languages.MALE_VARIANTS):
        voice = languages.Voice(f"en-us+{variant}", "en", 170, 50, 50, 1.0)
        assert say("Yes.", voice).phonemes


def test_unknown_names_are_refused():
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="language 'xx' is unknown; choose one of en, zh"):
        sentence("xx", rng)
    with pytest.raises(ValueError, match="split 'dev' is unknown; choose one of train"):
        sentence("en", rng, "dev")
