import dataclasses

import numpy as np
import pytest

from lpm.data.puppets.identity import HAIR_STYLES, IDENTITY_NAMES, RANGES, sample_identity


def test_the_same_seed_is_the_same_person():
    assert sample_identity(12) == sample_identity(12)
    assert sample_identity(12) != sample_identity(13)


def test_ten_thousand_seeds_are_ten_thousand_people():
    vectors = np.stack([sample_identity(seed).vector() for seed in range(10_000)])
    assert vectors.dtype == np.float32
    assert vectors.shape[1] == len(IDENTITY_NAMES) >= 14
    assert vectors.min() >= 0
    assert vectors.max() <= 1
    assert len(np.unique(vectors, axis=0)) == 10_000
    # Every proportion and every hair style is in use.
    assert (vectors[:, : len(RANGES)].std(0) > 0.05).all()
    styles = [IDENTITY_NAMES.index(f"hair_{name}") for name in HAIR_STYLES]
    assert (vectors[:, styles].sum(0) > 100).all()


def test_proportions_stay_in_their_range():
    for seed in range(200):
        identity = sample_identity(seed)
        for name, (low, high) in RANGES.items():
            assert low <= getattr(identity, name) <= high, name


def test_the_vector_follows_one_parameter():
    identity = sample_identity(5)
    wide = dataclasses.replace(identity, mouth_width=RANGES["mouth_width"][1])
    changed = np.flatnonzero(wide.vector() != identity.vector())
    assert [IDENTITY_NAMES[index] for index in changed] == ["mouth_width"]


def test_an_identity_cannot_be_changed_in_place():
    with pytest.raises(dataclasses.FrozenInstanceError):
        sample_identity(0).jaw = 0.2
