"""Drawing hair: the part behind the head, the cap above the hairline, buns and tails."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from lpm.data.puppets.draw_canvas import Shape
from lpm.data.puppets.draw_figure import Figure
from lpm.data.puppets.draw_head import skin_fill
from lpm.data.puppets.geometry import Rows, between, ellipsoid, limb_angle, on_rows, outline, project, smooth_step
from lpm.data.puppets.geometry_head import SKULL_CENTRE
from lpm.data.puppets.identity import Identity
from lpm.data.puppets.style import mix

SAMPLES = 49  # points along the visible hairline


@dataclass(frozen=True)
class Haircut:
    """Where hair ends: heights (head units, down) at the temples' sideburns, the sides and the nape.

    ``side_angle`` is the angle from the front, in radians, at which the hairline leaves the forehead.
    """

    thickness: float
    sideburn: float
    side: float
    nape: float
    side_angle: float
    flare: float
    ears: bool
    waves: float = 0.0


HAIRCUTS = {
    "short": Haircut(0.11, 0.02, -0.10, 0.42, 1.05, -0.30, True, 0.012),
    "side": Haircut(0.15, 0.06, -0.08, 0.46, 1.05, -0.25, True),
    "fringe": Haircut(0.13, 0.10, -0.02, 0.52, 1.08, -0.10, True),
    "bob": Haircut(0.16, 0.62, 0.66, 0.66, 1.02, 0.10, False),
    "long": Haircut(0.14, 1.00, 1.28, 1.40, 1.06, 0.14, False),
    "bun": Haircut(0.07, 0.00, -0.12, 0.40, 1.08, -0.30, True),
    "ponytail": Haircut(0.08, 0.00, -0.12, 0.40, 1.08, -0.30, True),
    "curly": Haircut(0.26, 0.16, 0.24, 0.50, 1.04, 0.0, False, 0.05),
    "buzz": Haircut(0.03, 0.00, -0.12, 0.40, 1.08, -0.34, True),
    "bald": Haircut(0.0, 0.0, 0.0, 0.0, 1.0, -0.34, True),
}


def haircut(identity: Identity) -> Haircut:
    """Return the cut of an identity's hair style."""
    return HAIRCUTS[identity.hair_style]


def hair_behind(figure: Figure) -> list[Shape]:
    """Return the back of the skull and everything that hangs behind the neck."""
    cut = haircut(figure.identity)
    rear = figure.pose.facing_T1[:, 0] < -0.2
    shapes = []
    if cut.nape > 0.6:
        shapes.append(_curtain(figure, cut, ~rear))
    shapes += _knot(figure, ~rear)
    shapes.append(_skull(figure, cut))
    return shapes


def hair_in_front(figure: Figure) -> list[Shape]:
    """Return the cap above the hairline; seen from behind also a bun or tail."""
    identity, palette = figure.identity, figure.palette
    cut = haircut(identity)
    if identity.hair_style == "bald":
        return []
    colour, name = (
        (mix(palette.hair, palette.skin, 0.42), "stubble") if identity.hair_style == "buzz" else (palette.hair, "hair")
    )
    cap = _cap(figure, cut)
    shapes = [Shape(cap, figure.fill(name, colour)), figure.contour(cap[:, :SAMPLES], colour)]
    return shapes + _knot(figure, figure.pose.facing_T1[:, 0] < -0.2)


def hair_rows(identity: Identity, cut: Haircut, y: np.ndarray) -> Rows:
    """Return the hair's surface at heights ``y``: an ellipsoid above the ears, a tapering or flaring tube below."""
    swell = 1.03 + cut.thickness * (0.6 + 0.8 * identity.hair_volume)
    middle = SKULL_CENTRE[1]
    top = _crown(identity, cut)
    dome = np.sqrt(np.clip(1 - (np.minimum(y - middle, 0) / (top - middle)) ** 2, 0, 1))
    tube = (
        1
        + cut.flare * np.clip(y - middle - 0.1, 0, 1.2)
        - 0.30 * smooth_step(y, cut.nape - 0.45, cut.nape + 0.05) * (cut.flare > 0)
    )
    width = identity.face_width * swell * dome * tube
    front = (0.66 + 0.3 * (swell - 1)) * dome * np.clip(tube, 0, 1)
    return Rows(y, width, front, 0.72 * swell * dome * tube, np.full_like(y, -0.13))


def _crown(identity: Identity, cut: Haircut) -> float:
    return -identity.face_height * 1.02 - 0.04 - 0.5 * cut.thickness * (0.5 + identity.hair_volume)


def _hairline(identity: Identity, cut: Haircut, angle: np.ndarray) -> np.ndarray:
    """Return the height at which hair ends, at an angle around the head (0 front, pi back)."""
    angle = (angle + np.pi) % (2 * np.pi) - np.pi
    turn = np.abs(angle)
    edge = _forehead(identity, angle)
    edge = edge + (cut.sideburn - edge) * smooth_step(turn, cut.side_angle, cut.side_angle + 0.24)
    edge = edge + (cut.side - edge) * smooth_step(turn, 1.36, 1.52)
    edge = edge + (cut.nape - edge) * smooth_step(turn, 1.62, 2.75)
    return edge + cut.waves * (np.abs(np.sin(angle * 6.5)) - 0.5) * smooth_step(turn, 2.2, 0.2)


def _forehead(identity: Identity, angle: np.ndarray) -> np.ndarray:
    high = -identity.fringe_height * identity.face_height
    part = identity.parting
    kind = identity.hair_style
    if kind == "side":
        sweep = np.clip((angle - 0.5 * part) * np.sign(-part) + 0.2, 0, 2)
        return high * 1.08 + 0.18 * sweep**1.3 + 0.10 * np.abs(angle) ** 3
    if kind == "fringe":
        return -0.40 * identity.face_height + 0.022 * np.cos(angle * 15) + 0.02 * angle**2
    if kind in ("bob", "long"):
        return high * 1.25 + 0.40 * np.abs(angle - 0.4 * part) ** 1.4
    if kind in ("bun", "ponytail", "buzz"):
        return high * 1.12 + 0.14 * angle**2
    if kind == "curly":
        return high * 0.96 + 0.14 * angle**2
    return high * 1.02 + 0.04 * np.sin(5 * angle + 3 * part) + 0.10 * angle**2


def _cap(figure: Figure, cut: Haircut) -> np.ndarray:
    """Return the polygon between the hairline we see and the hair's outline over the crown."""
    identity = figure.identity
    level = np.array([-0.2])
    right = limb_angle(figure.pose, hair_rows(identity, cut, level))
    angle = right - np.pi + np.pi * np.linspace(0, 1, SAMPLES)
    y = _hairline(identity, cut, angle)
    rows = hair_rows(identity, cut, y)
    line = project(figure.pose, *on_rows(rows, angle))
    top = _crown(identity, cut)
    share = np.linspace(1, 0, 34)[:-1] ** 2
    left_side = outline(figure.pose, hair_rows(identity, cut, top + (y[:, :1] - top) * share))[0]
    right_side = outline(figure.pose, hair_rows(identity, cut, top + (y[:, -1:] - top) * share[::-1]))[1]
    crown = np.concatenate([left_side, right_side], 1)
    if cut.waves > 0.02:
        crown = _curl(crown, cut.waves)
    return between(line, crown)


def _curl(points: np.ndarray, size: float) -> np.ndarray:
    offset = points - np.array((0.0, -0.2))
    around = np.arctan2(offset[..., 0], -offset[..., 1])
    return points + offset * (size * (np.abs(np.sin(around * 7)) - 0.4))[..., None]


def _skull(figure: Figure, cut: Haircut) -> Shape:
    identity, palette = figure.identity, figure.palette
    swell = 1.0 + cut.thickness * (0.6 + 0.8 * identity.hair_volume)
    height = SKULL_CENTRE[1] - _crown(identity, cut)
    # Thick hair grows backwards: the forehead stays in front of it.
    centre = (0.0, SKULL_CENTRE[1], 0.53 - 0.69 * swell)
    ring = ellipsoid(figure.pose, centre, (identity.face_width * 1.02 * swell, height, 0.69 * swell), 72)
    if cut.waves > 0.02:
        ring = _curl(ring, cut.waves)
    if identity.hair_style == "bald":
        return figure.inked(ring, skin_fill(figure), palette.skin)
    stubble = identity.hair_style == "buzz"
    colour = mix(palette.hair, palette.skin, 0.42) if stubble else palette.hair
    return figure.inked(ring, figure.fill("stubble" if stubble else "hair", colour), colour)


def _curtain(figure: Figure, cut: Haircut, show_T: np.ndarray) -> Shape:
    y = np.linspace(-0.3, cut.nape, 18)
    rows = hair_rows(figure.identity, cut, y)
    left, right = outline(figure.pose, replace(rows, front=0.3 * rows.front))
    bottom = 0.5 * (left[:, -1:] + right[:, -1:]) + (0, 0.08)
    points = np.concatenate([left, bottom, right[:, ::-1]], 1)
    return figure.inked(points, figure.fill("hair_dark", figure.palette.hair_dark), figure.palette.hair_dark, show_T)


def _knot(figure: Figure, show_T: np.ndarray) -> list[Shape]:
    identity, palette = figure.identity, figure.palette
    size = 0.22 + 0.08 * identity.hair_volume
    if identity.hair_style == "bun":
        ring = ellipsoid(figure.pose, (0.0, -identity.face_height * 1.12, -0.38), (size * 1.15, size, size), 24)
        return [figure.inked(ring, figure.fill("hair", palette.hair), palette.hair, show_T)]
    if identity.hair_style == "ponytail":
        along = np.linspace(0, 1, 24)
        y = -0.62 + (1.57 + 0.2 * identity.hair_volume) * along**1.4
        swing = np.sin(np.pi * along**0.8) ** 0.6
        rows = Rows(
            y, size * 0.95 * swing, size * 0.8 * swing, size * 0.8 * swing, -0.86 - 0.26 * np.sin(np.pi * 0.8 * along)
        )
        left, right = outline(figure.pose, rows)
        return [figure.inked(between(left, right), figure.fill("hair", palette.hair), palette.hair, show_T)]
    return []
