"""Griffe extension for the docs: doctests inside prose become code blocks, which Google style asks a section for."""

import re
from typing import Any

import griffe

_DOCTEST = re.compile(r"^>>> .*(?:\n(?!\s*$).*)*", re.MULTILINE)


class FenceDoctests(griffe.Extension):
    """Put a fence around each run of lines that begins with ``>>>`` and ends at an empty line."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        if obj.docstring is not None:
            fenced = _DOCTEST.sub(lambda found: f"\n```pycon\n{found[0]}\n```", obj.docstring.value)
            obj.docstring.value = fenced
