"""Drawing neck, shoulders and collar."""

from __future__ import annotations

import numpy as np

from lpm.data.puppets.draw_canvas import Shape
from lpm.data.puppets.draw_figure import Figure
from lpm.data.puppets.draw_head import torso_rows
from lpm.data.puppets.geometry import Pose, Rows, between, outline, project
from lpm.data.puppets.identity import Colour
from lpm.data.puppets.style import mix

COLLAR_DEPTH = {"round": 0.26, "v": 0.46, "high": 0.05}


def body(figure: Figure) -> list[Shape]:
    """Return the torso, the neck with the head's shadow on it, and the collar."""
    left, right = outline(figure.torso, torso_rows(figure))
    clothes = figure.palette.clothes
    torso = figure.inked(between(left, right), figure.fill("clothes", clothes), clothes)
    seen = figure.torso.facing_T1[:, 0] > 0.3
    return [torso, *_neckline(figure, seen), *neck(figure), *_collar(figure, seen)]


def neck(figure: Figure) -> list[Shape]:
    """Return the neck between head and torso; it leans with the head."""
    palette = figure.palette
    top, bottom = _neck_ring(figure, 0.45, figure.pose), _neck_ring(figure, 1.10, figure.torso)
    skin = mix(palette.skin, (120, 50, 44), 0.14)
    points = between(np.stack([top[0], bottom[0]], 1), np.stack([top[1], bottom[1]], 1))
    drop = 0.62 + 0.06 * figure.motion["aperture"]
    low_left, low_right = top[0] + drop * (bottom[0] - top[0]), top[1] + drop * (bottom[1] - top[1])
    middle = 0.5 * (low_left + low_right) + np.concatenate([0.12 * figure.pose.aside_T1, 0.13 + 0 * drop], 1)
    left_knee, right_knee = (0.5 * (low + middle) + (0, 0.04) for low in (low_left, low_right))
    shadow = np.stack([top[0], low_left, left_knee, middle, right_knee, low_right, top[1]], 1)
    sides = [figure.contour(np.stack(side, 1), skin) for side in ((top[0], bottom[0]), (top[1], bottom[1]))]
    shade = mix(palette.skin, (96, 32, 34), 0.36)
    front = figure.torso.facing_T1[:, 0] > -0.2
    return [Shape(points, figure.fill("neck", skin)), *sides, Shape(shadow, shade, show_T=front)]


def _neck_ring(figure: Figure, y: float, pose: Pose) -> tuple[np.ndarray, np.ndarray]:
    width = 0.235 * figure.identity.shoulders + (0.05 if y > 1 else 0.0)
    row = Rows(np.array([y]), np.array([width]), np.array([0.31]), np.array([0.29]), np.array([-0.18]))
    left, right = outline(pose, row)
    return left[:, 0], right[:, 0]


def _neckline(figure: Figure, seen_T: np.ndarray) -> list[Shape]:
    if figure.identity.collar == "high":
        return []
    skin = mix(figure.palette.skin, (120, 50, 44), 0.08)
    return [figure.inked(_collar_points(figure, 0.0), skin, figure.palette.clothes, seen_T)]


def _collar(figure: Figure, seen_T: np.ndarray) -> list[Shape]:
    clothes = figure.palette.clothes
    if figure.identity.collar == "high":
        tone = mix(clothes, (0, 0, 10), 0.22)
        left, right = _neck_ring(figure, 0.93, figure.torso)
        low_left, low_right = _neck_ring(figure, 1.16, figure.torso)
        grow = np.array((0.05, 0.0))
        mid = 0.5 * (low_left + low_right) + (0, 0.10)
        points = np.stack(
            [left - grow, 0.5 * (left + right) + (0, 0.05), right + grow, low_right + grow, mid, low_left - grow], 1
        )
        return [figure.inked(points, tone, clothes)]
    tone = mix(clothes, (255, 255, 255), 0.28)
    if figure.torso.facing_T1.max() < 0.5:
        return [_band(figure, tone)] if figure.torso.facing_T1.max() < -0.5 else []
    outer, inner = _collar_line(figure, 0.055), _collar_line(figure, 0.0)
    return [figure.inked(between(outer, inner), tone, clothes, seen_T)]


def _band(figure: Figure, tone: Colour) -> Shape:
    left, right = _neck_ring(figure, 0.99, figure.torso)
    low_left, low_right = _neck_ring(figure, 1.05, figure.torso)
    grow, sag = np.array((0.035, 0.0)), np.array((0.0, 0.05))
    points = [
        left - grow,
        0.5 * (left + right) + sag,
        right + grow,
        low_right + 1.3 * grow,
        0.5 * (low_left + low_right) + sag,
        low_left - 1.3 * grow,
    ]
    return figure.inked(np.stack(points, 1), tone, figure.palette.clothes)


def _collar_line(figure: Figure, grow: float) -> np.ndarray:
    across = np.linspace(-1, 1, 17)
    width = 0.235 * figure.identity.shoulders + 0.085 + grow
    depth = COLLAR_DEPTH[figure.identity.collar] + 1.2 * grow
    sag = 1 - np.abs(across) ** (1.15 if figure.identity.collar == "v" else 2.0)
    breath = -0.04 * figure.motion["breath"]
    return project(
        figure.torso, width * across, 1.0 + depth * sag + breath, -0.12 + 0.42 * np.sqrt(1 - 0.96 * across**2)
    )


def _collar_points(figure: Figure, grow: float) -> np.ndarray:
    line = _collar_line(figure, grow)
    return np.concatenate([line, line[:, [-1, 0]] - (0, 0.06)], 1)
