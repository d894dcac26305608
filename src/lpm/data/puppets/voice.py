"""Which voice a character has: drawn from its identity, so that it keeps it in every clip."""

from __future__ import annotations

import numpy as np

from lpm.data.puppets.identity import Identity
from lpm.data.puppets.language import FEMALE_VARIANTS, sample_voice
from lpm.data.puppets.plan import derived_seed

SOFT = 0.5  # lashes above this go with the soft proportions of `sample_identity`


def voice_seed(identity_seed: int, identity: Identity) -> int:
    """Return the seed of a character's voice, drawn until it is of the kind that the character's looks suggest."""
    attempt = 0
    while True:
        seed = derived_seed(identity_seed, "voice", attempt)
        variant = sample_voice("en", np.random.default_rng(seed)).name.split("+")[1]
        if (variant in FEMALE_VARIANTS) == (identity.lashes > SOFT):
            return seed
        attempt += 1
