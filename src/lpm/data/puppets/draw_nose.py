"""Drawing the nose and the folds beside it."""

from __future__ import annotations

import numpy as np

from lpm.data.puppets.draw_canvas import Shape
from lpm.data.puppets.draw_figure import Figure
from lpm.data.puppets.geometry import between, project, smooth_step
from lpm.data.puppets.geometry_head import EYE_LEVEL, near_side, skin_depth
from lpm.data.puppets.style import mix, mix_frames

TIP = 0.19  # how far the tip stands out


def nose(figure: Figure) -> list[Shape]:
    """Return bridge, tip, wings and nostrils; a sneer lifts and widens the wings and wrinkles the bridge."""
    identity, palette, motion = figure.identity, figure.palette, figure.motion
    sneer = motion["sneer"]
    bottom = EYE_LEVEL + identity.nose_length - 0.020 * sneer
    half = identity.nose_width * (1 + 0.16 * sneer)
    shown = figure.face_shown_T
    aside = figure.pose.aside_T1
    shapes = [
        *(_bridge(figure, side, bottom, half, shown) for side in (-1.0, 1.0)),
        _tip_light(figure, bottom, shown),
    ]
    across = np.linspace(-1, 1, 15)
    x = near_side(identity, figure.pose, half * across, 0.25)
    wing = np.abs(across) ** 6
    y = bottom + 0.040 * (1 - across**2) - 0.045 * wing + 0.01
    z = (
        skin_depth(identity, x, np.array(EYE_LEVEL + identity.nose_length))
        + 0.02
        + (TIP - 0.05) * (1 - across**2) ** 0.8
    )
    shapes.append(
        figure.stroke(
            project(figure.pose, x, y, z),
            0.026,
            mix(palette.skin_dark, palette.ink, 0.12 + 0.3 * figure.style.ink),
            shown,
        )
    )
    for side in (-1.0, 1.0):
        show = shown & (side * aside[:, 0] < 0.5)
        shapes.append(_nostril(figure, side, bottom, half, show))
        shapes.append(_wrinkle(figure, side, sneer, show))
    return shapes


def _bridge(figure: Figure, side: float, bottom: np.ndarray, half: np.ndarray, shown_T: np.ndarray) -> Shape:
    """Return the shade beside the ridge: on the image's right, away from the light, or on a turned head's far side."""
    identity, palette = figure.identity, figure.palette
    along = np.linspace(0, 1, 9)
    right = smooth_step(figure.pose.aside_T1, -0.28, 0.0)
    share = right if side > 0 else 1 - right
    y = EYE_LEVEL - 0.06 + along * (bottom - EYE_LEVEL + 0.05)
    ridge = project(figure.pose, side * 0.012 + 0 * y, y, skin_depth(identity, np.zeros(1), y) + TIP * along**1.35)
    foot = side * (0.045 + (half - 0.04) * along**2)
    base = project(figure.pose, foot + 0 * y, y, skin_depth(identity, foot, y) + 0.35 * TIP * along**2)
    # The shade grows out of the ridge, so that it changes sides without a jump.
    base = ridge + share[..., None] * (base - ridge)
    return Shape(between(ridge, base), mix(palette.skin, palette.skin_dark, 0.42), show_T=shown_T & (share[:, 0] > 0))


def _tip_light(figure: Figure, bottom: np.ndarray, shown_T: np.ndarray) -> Shape:
    around = np.linspace(0, 2 * np.pi, 14, endpoint=False)
    depth = skin_depth(figure.identity, np.zeros(1), np.array(EYE_LEVEL + figure.identity.nose_length)) + TIP - 0.03
    x = -0.018 + 0.032 * np.cos(around)
    points = project(figure.pose, x, bottom - 0.028 + 0.026 * np.sin(around), depth)
    show = shown_T & (np.abs(figure.pose.aside_T1[:, 0]) < 0.8)
    return Shape(points, mix(figure.palette.skin_light, (255, 255, 255), 0.25), show_T=show)


def _nostril(figure: Figure, side: float, bottom: np.ndarray, half: np.ndarray, show_T: np.ndarray) -> Shape:
    around = np.linspace(0, 2 * np.pi, 12, endpoint=False)
    x = side * half * 0.52 + 0.026 * np.cos(around)
    y = bottom + 0.022 + 0.013 * np.sin(around) - 0.006 * np.cos(around) * side
    depth = skin_depth(figure.identity, x, np.array(EYE_LEVEL + figure.identity.nose_length)) + 0.08
    return Shape(project(figure.pose, x, y, depth), mix(figure.palette.skin, (70, 20, 20), 0.58), show_T=show_T)


def _wrinkle(figure: Figure, side: float, sneer_T1: np.ndarray, show_T: np.ndarray) -> Shape:
    along = np.linspace(0, 1, 7)
    x = side * (0.055 + 0.05 * along)
    y = EYE_LEVEL + 0.055 + 0.07 * along + 0 * sneer_T1
    line = project(figure.pose, x, y, skin_depth(figure.identity, x, y) + 0.05)
    colour = mix_frames(figure.palette.skin, figure.palette.skin_dark, 0.9 * sneer_T1)
    return figure.stroke(line, 0.024, colour, show_T & (sneer_T1[:, 0] > 0.03))


def folds(figure: Figure) -> list[Shape]:
    """Return the lines from nose to mouth corners that deepen with smiles and sneers."""
    identity, palette, motion = figure.identity, figure.palette, figure.motion
    along = np.linspace(0, 1, 9)
    shapes = []
    for side in (-1.0, 1.0):
        smirk = np.clip(side * motion["smirk"], 0, 1)
        strength = np.clip(np.clip(motion["smile"], 0, 1) + smirk + 0.7 * motion["sneer"], 0, 1)
        start, reach = identity.nose_width * 1.35, identity.mouth_width * (1 + 0.16 * motion["smile"]) + 0.055
        x = side * (start + along * (reach - start) + 0.035 * np.sin(along * np.pi))
        y = EYE_LEVEL + identity.nose_length - 0.03 + along * 0.24 - 0.05 * strength * along
        line = project(figure.pose, near_side(identity, figure.pose, x, 0.4), y, skin_depth(identity, x, y))
        colour = mix_frames(palette.skin, palette.skin_dark, 0.5 * strength)
        shapes.append(
            figure.stroke(
                line,
                0.022,
                colour,
                figure.face_shown_T & (strength[:, 0] > 0.04) & (side * figure.pose.aside_T1[:, 0] < 0.6),
            )
        )
    return shapes
