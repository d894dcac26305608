"""How puppets are drawn: four styles as plain numbers, and mixing of colours."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lpm.data.puppets.identity import Colour

WHITE, BLACK, PAPER = (255.0, 255.0, 255.0), (0.0, 0.0, 0.0), (238.0, 232.0, 220.0)


@dataclass(frozen=True)
class Style:
    """One way of drawing.

    Attributes:
        outline: width of the outline in head units.
        ink: how much darker than its surface an outline is, 0..1.
        shading: strength of the soft light, 0..1.
        grain: strength of skin, hair and cloth texture, 0..1.
        hatching: strength of pencil strokes, 0..1.
        paper: how far colours fade to paper, 0..1.
        eyes: eye size relative to the identity's.
        cel: whether light and shade are two flat tones with a hard edge.
    """

    outline: float
    ink: float
    shading: float
    grain: float
    hatching: float
    paper: float
    eyes: float
    cel: bool = False


STYLES = {
    "clean": Style(outline=0.014, ink=0.42, shading=1.0, grain=0.0, hatching=0.0, paper=0.0, eyes=1.0),
    "flat": Style(outline=0.032, ink=0.80, shading=0.0, grain=0.0, hatching=0.0, paper=0.0, eyes=1.36, cel=True),
    "sketch": Style(outline=0.026, ink=0.86, shading=0.35, grain=0.25, hatching=1.0, paper=0.62, eyes=1.04),
    "textured": Style(outline=0.014, ink=0.50, shading=1.0, grain=1.0, hatching=0.0, paper=0.0, eyes=1.0),
}


def style(name: str) -> Style:
    """Return a style by name: clean, flat, sketch or textured."""
    if name not in STYLES:
        raise ValueError(f"style {name!r} is unknown; choose one of {', '.join(STYLES)}")
    return STYLES[name]


def mix(first: Colour, second: Colour, share: float) -> Colour:
    """Return ``first`` with ``share`` of ``second``.

    >>> mix((0, 0, 0), (100, 200, 50), 0.5)
    (50.0, 100.0, 25.0)
    """
    red, green, blue = ((1 - share) * np.asarray(first) + share * np.asarray(second)).tolist()
    return red, green, blue


def mix_frames(first: Colour, second: Colour, share_T1: np.ndarray) -> np.ndarray:
    """Return one mixed colour per frame (T, 3)."""
    return (1 - share_T1) * np.asarray(first) + share_T1 * np.asarray(second)
