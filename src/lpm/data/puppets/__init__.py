"""Puppets: a procedural, licence-free corpus of drawn characters that speak and listen, with ground truth.

Names are loaded when they are first used: a worker that draws needs no torch, and reading shards needs no espeak-ng.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lpm.data.puppets.build import build_corpus
    from lpm.data.puppets.controls import CONTROLS
    from lpm.data.puppets.draw import Puppet
    from lpm.data.puppets.espeak import synthesise
    from lpm.data.puppets.expressions import expression
    from lpm.data.puppets.identity import Identity, sample_identity
    from lpm.data.puppets.plan import CorpusSpec
    from lpm.data.puppets.reader import Signals, read

HOMES = {
    "CONTROLS": "controls",
    "CorpusSpec": "plan",
    "Identity": "identity",
    "Puppet": "draw",
    "Signals": "reader",
    "build_corpus": "build",
    "expression": "expressions",
    "read": "reader",
    "sample_identity": "identity",
    "synthesise": "espeak",
}

__all__ = [
    "CONTROLS",
    "CorpusSpec",
    "Identity",
    "Puppet",
    "Signals",
    "build_corpus",
    "expression",
    "read",
    "sample_identity",
    "synthesise",
]


def __getattr__(name: str) -> Any:
    if name not in HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
