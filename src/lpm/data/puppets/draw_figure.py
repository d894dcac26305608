"""Everything the drawing functions need to know about one clip: who, how posed, with which paints."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lpm.data.puppets.draw_canvas import Material, Shape
from lpm.data.puppets.geometry import Pose, ribbon
from lpm.data.puppets.identity import Colour, Identity
from lpm.data.puppets.style import PAPER, Style, mix


@dataclass(frozen=True)
class Palette:
    """An identity's colours in one style."""

    skin: Colour
    skin_light: Colour
    skin_dark: Colour
    hair: Colour
    hair_dark: Colour
    lips: Colour
    clothes: Colour
    ink: Colour
    paper: Colour


@dataclass(frozen=True)
class Figure:
    """One clip of a puppet: ``motion`` holds the controls as columns (T, 1); the torso has its own, calmer pose."""

    identity: Identity
    style: Style
    palette: Palette
    pose: Pose
    torso: Pose
    motion: dict[str, np.ndarray]
    materials: dict[str, Material]

    def fill(self, name: str, plain: Colour) -> Colour | Material:
        """Return the material of that name, or the plain colour where the style draws flat."""
        return self.materials.get(name, plain)

    def ink(self, colour: Colour) -> Colour:
        """Return the outline's colour on a surface of that colour."""
        return mix(colour, self.palette.ink, self.style.ink)

    def inked(
        self, points: np.ndarray, fill: Colour | Material, colour: Colour, show: np.ndarray | None = None
    ) -> Shape:
        """Return a filled shape with the style's outline, which is a darker tone of ``colour``."""
        return Shape(points, fill, self.ink(colour), self.style.outline, show)

    def contour(self, points: np.ndarray, colour: Colour, show: np.ndarray | None = None) -> Shape:
        """Return an open outline without a filling."""
        return Shape(points, None, self.ink(colour), self.style.outline, show, closed=False)

    def stroke(
        self, points: np.ndarray, width: float | np.ndarray, colour: Colour | np.ndarray, show: np.ndarray | None = None
    ) -> Shape:
        """Return a line that tapers off at both ends."""
        taper = np.sin(np.linspace(0.06, np.pi - 0.06, points.shape[1])) ** 0.6
        return Shape(ribbon(points, width * taper), colour, show_T=show)

    @property
    def face_shown_T(self) -> np.ndarray:
        """True where the front of the face can be seen at all."""
        return self.pose.facing_T1[:, 0] > -0.2


def palette(identity: Identity, style: Style) -> Palette:
    """Return the colours of an identity as a style shows them."""

    def tone(colour: Colour) -> Colour:
        grey = float(np.dot(colour, (0.30, 0.59, 0.11)))
        return mix(mix(colour, (grey, grey, grey), 0.5 * style.paper), PAPER, style.paper * 0.7)

    skin, hair = tone(identity.skin), tone(identity.hair)
    return Palette(
        skin=skin,
        skin_light=mix(skin, (255, 246, 232), 0.36),
        skin_dark=mix(skin, (96, 38, 36), 0.34),
        hair=hair,
        hair_dark=mix(hair, (10, 6, 12), 0.34),
        lips=tone(identity.lips),
        clothes=tone(identity.clothes),
        ink=(46, 40, 46) if style.paper else (38, 22, 26),
        paper=PAPER,
    )
