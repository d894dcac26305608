"""Drawing the head: face, ears, cheeks, beard."""

from __future__ import annotations

import numpy as np

from lpm.data.puppets.draw_canvas import Material, Shape
from lpm.data.puppets.draw_figure import Figure
from lpm.data.puppets.geometry import Rows, between, outline, project, smooth_step
from lpm.data.puppets.geometry_head import EYE_LEVEL, JAW_DROP, MOUTH_LEVEL, face_rows, skin_depth
from lpm.data.puppets.identity import Colour
from lpm.data.puppets.style import mix


def face(figure: Figure) -> list[Shape]:
    """Return the face's skin; in profile its outline follows forehead, nose, lips and chin."""
    left, right = face_outline(figure)
    skin = figure.palette.skin
    low = slice(left.shape[1] * 2 // 5, None)  # hair, or the bare skull, draws the outline above
    return [
        Shape(between(left, right), skin_fill(figure)),
        figure.contour(between(left[:, low], right[:, low]), skin),
        figure.contour(left[:, 4:], skin, figure.pose.aside_T1[:, 0] < -0.25),
        figure.contour(right[:, 4:], skin, figure.pose.aside_T1[:, 0] > 0.25),
    ]


def skin_fill(figure: Figure) -> Colour | Material:
    """Return the paint of the head's skin: the face's, or a bare one seen from behind."""
    return figure.fill("skin" if figure.face_shown_T.all() else "scalp", figure.palette.skin)


def face_outline(figure: Figure) -> tuple[np.ndarray, np.ndarray]:
    """Return the left and right outline (T, N, 2) of the face, nose and lips included."""
    rows = face_rows(figure.identity, figure.motion["aperture"])
    left, right = outline(figure.pose, rows)
    middle = project(
        figure.pose, np.zeros_like(rows.y), rows.y, rows.centre + rows.front + profile_bumps(figure, rows.y)
    )
    # Rolled heads compare along their own horizontal axis.
    axis = np.stack([np.cos(figure.pose.roll_T), np.sin(figure.pose.roll_T)], -1)[:, None]
    beyond_right = ((middle - right) * axis).sum(-1, keepdims=True) > 0
    beyond_left = ((middle - left) * axis).sum(-1, keepdims=True) < 0
    facing = figure.pose.facing_T1[..., None] > -0.3
    return np.where(beyond_left & facing, middle, left), np.where(beyond_right & facing, middle, right)


def profile_bumps(figure: Figure, y: np.ndarray) -> np.ndarray:
    """Return how far nose, lips and chin stand out from the face's middle line at height ``y``."""
    identity, motion = figure.identity, figure.motion
    root, tip = EYE_LEVEL - 0.03, EYE_LEVEL + identity.nose_length
    slope = np.clip((y - root) / (tip - root), 0, 1)
    nose = 0.20 * slope**1.35 * (1 - smooth_step(y, tip, tip + 0.085)) - 0.035 * np.exp(-(((y - root) / 0.09) ** 2))
    open_, pout = motion["aperture"], motion["round"]
    upper = MOUTH_LEVEL - 0.26 * 0.35 * open_ - 0.5 * identity.lip_thickness
    lower = MOUTH_LEVEL + 0.74 * 0.35 * open_ + 0.65 * identity.lip_thickness
    lips = (0.050 + 0.04 * pout) * np.exp(-(((y - upper) / 0.045) ** 2)) + (0.045 + 0.04 * pout) * np.exp(
        -(((y - lower) / 0.05) ** 2)
    )
    chin = 0.035 * np.exp(-(((y - 0.86 * identity.face_height - JAW_DROP * open_) / 0.09) ** 2))
    return nose + lips + chin - 0.02 * np.exp(-(((y - lower - 0.12) / 0.06) ** 2))


def ears(figure: Figure, near: bool) -> list[Shape]:
    """Return both ears, each shown only where it is on the near (or far) side of the head."""
    around = np.linspace(0, 2 * np.pi, 22, endpoint=False)
    shapes: list[Shape] = []
    for side in (-1.0, 1.0):
        toward = -side * figure.pose.aside_T1
        show = ((toward[:, 0] > 0) & (figure.pose.facing_T1[:, 0] > -0.5)) == near
        shapes += _ear(figure, side, toward, around, show)
        if figure.identity.earrings:
            shapes.append(_earring(figure, side, around, show))
    return shapes


def _ear(figure: Figure, side: float, toward_T1: np.ndarray, around: np.ndarray, show_T: np.ndarray) -> list[Shape]:
    palette = figure.palette
    x = side * figure.identity.face_width * 0.985
    inward = np.where(np.cos(around) < 0, smooth_step(toward_T1, 0.0, 0.7), 1.0)

    def ring(scale: float) -> np.ndarray:
        reach = side * 0.075 * scale * np.cos(around) * inward
        lobe = 1 - 0.28 * np.clip(np.sin(around), 0, 1)
        depth = -0.12 - 0.115 * scale * np.cos(around) * lobe
        return project(figure.pose, x + reach * lobe, 0.06 + 0.165 * scale * np.sin(around), depth)

    tone = mix(palette.skin, (176, 70, 60), 0.14)
    inner = mix(palette.skin, (130, 46, 40), 0.32)
    return [figure.inked(ring(1.0), tone, palette.skin, show_T), Shape(ring(0.55), inner, show_T=show_T)]


def _earring(figure: Figure, side: float, around: np.ndarray, show_T: np.ndarray) -> Shape:
    x = side * figure.identity.face_width * 1.03
    ring = project(
        figure.pose, x + 0.036 * np.cos(around), 0.27 + 0.036 * np.sin(around), -0.10 + 0.036 * np.cos(around)
    )
    gold = mix((240, 200, 96), figure.palette.paper, figure.style.paper * 0.5)
    return figure.inked(ring, gold, (200, 150, 60), show_T)


def beard(figure: Figure) -> list[Shape]:
    """Return a beard along the jaw with a moustache, open around the lips by being drawn below them."""
    if not figure.identity.beard:
        return []
    identity, palette = figure.identity, figure.palette
    rows = face_rows(identity, figure.motion["aperture"])
    left, right = face_outline(figure)
    lower = rows.y[0] / identity.face_height > 0.10
    angle = np.linspace(-1.35, 1.35, 41)
    tilt = np.arctan2(figure.pose.aside_T1, np.maximum(figure.pose.facing_T1, 0.05))
    angle = np.clip(angle, -1.45 - tilt, 1.45 - tilt)
    across = np.sin(angle)
    top = (
        MOUTH_LEVEL
        - 0.115
        + 0.19 * smooth_step(np.abs(angle), 0.10, 0.62)
        - 0.62 * smooth_step(np.abs(angle), 0.72, 1.62)
    )
    x = across * identity.face_width * 0.93
    edge = project(figure.pose, x, top, skin_depth(identity, x, top) + 0.015)
    points = np.concatenate([edge, right[:, lower], left[:, lower][:, ::-1]], 1)
    colour = mix(palette.hair, (30, 20, 16), 0.12)
    return [figure.inked(points, figure.fill("beard", colour), colour, figure.face_shown_T)]


def torso_rows(figure: Figure) -> Rows:
    """Return neck base, shoulders and chest; breathing lifts and widens them."""
    breath = figure.motion["breath"]
    y = 0.94 + 1.9 * np.linspace(0, 1, 28) ** 2
    fall = np.clip((y - 0.94) / 0.72, 0, 1)
    share = 0.27 + 0.75 * (1 - (1 - fall) ** 2.6) ** 1.35 + 0.03 * np.clip(y - 1.6, 0, 1)
    lift = -0.045 * breath * np.clip((y - 0.9) / 0.3, 0, 1)
    width = figure.identity.shoulders * share * (1 + 0.02 * breath)
    depth = 0.36 + 0.28 * fall
    return Rows(y + lift, width, depth, depth, np.full_like(y, -0.22))
