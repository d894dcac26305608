"""Puppets: a procedural, licence-free corpus of drawn characters that speak and listen, with ground truth.

Names are loaded when they are first used: a worker that draws needs no torch, and reading shards needs no espeak-ng.
"""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from lpm.data.puppets.build import build_corpus
    from lpm.data.puppets.controls import CONTROLS
    from lpm.data.puppets.draw import Puppet
    from lpm.data.puppets.espeak import synthesise
    from lpm.data.puppets.expressions import expression
    from lpm.data.puppets.identity import Identity, sample_identity
    from lpm.data.puppets.plan import CorpusSpec
    from lpm.data.puppets.reader import Signals, read

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "build": ["build_corpus"],
        "controls": ["CONTROLS"],
        "draw": ["Puppet"],
        "espeak": ["synthesise"],
        "expressions": ["expression"],
        "identity": ["Identity", "sample_identity"],
        "plan": ["CorpusSpec"],
        "reader": ["Signals", "read"],
    },
)
