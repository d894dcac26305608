"""Drawing eyes and brows."""

from __future__ import annotations

import numpy as np

from lpm.data.puppets.draw_canvas import Shape
from lpm.data.puppets.draw_figure import Figure
from lpm.data.puppets.geometry import between, project
from lpm.data.puppets.geometry_head import EYE_LEVEL, near_side, skin_depth
from lpm.data.puppets.style import mix

COLUMNS = np.linspace(-1, 1, 17)
GAZE_X, GAZE_Y = 0.062, 0.042
SOCKET = 0.04  # how deep eyes lie


def eyes(figure: Figure) -> list[Shape]:
    """Return both eyes: lid, white, iris with pupil and highlights, lashes, crease."""
    return [shape for side in (-1.0, 1.0) for shape in _eye(figure, side)]


def brows(figure: Figure) -> list[Shape]:
    """Return both brows; raising lifts them, frowning pulls the inner ends down and together."""
    return [_brow(figure, side) for side in (-1.0, 1.0)]


def lids(figure: Figure, side: float, x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return heights (T, N) of upper lid, lower lid and crease at ``x``; a blink brings the upper lid down."""
    identity, motion = figure.identity, figure.motion
    u = np.clip((x - side * identity.eye_spacing) / (identity.eye_size * _scale(figure)), -1, 1)
    blink = motion["blink_l" if side < 0 else "blink_r"]
    squint = motion["eyelid"] + 0.30 * np.clip(motion["smile"], 0, 1) + 0.25 * motion["sneer"]
    arc = (1 - np.abs(u) ** 2.3) * identity.eye_opening * (0.5 + 0.5 * figure.style.eyes**2)
    corner = EYE_LEVEL - identity.eye_tilt * side * u
    open_upper = arc * (1 - np.where(squint > 0, 0.38, 0.30) * squint)
    open_lower = 0.62 * arc * (1 - np.where(squint > 0, 0.50, 0.25) * squint)
    lower = corner + open_lower * (1 - 0.12 * blink)
    upper = corner - open_upper + blink * (open_upper + 0.88 * open_lower)
    crease = corner - 1.02 * arc * (1 - 0.35 * blink - 0.12 * np.clip(squint, -1, 1)) - 0.038
    return np.minimum(upper, lower), lower, crease


def _scale(figure: Figure) -> float:
    return figure.style.eyes**0.8


def _eye(figure: Figure, side: float) -> list[Shape]:
    identity, palette, style = figure.identity, figure.palette, figure.style
    show = _eye_shown(figure, side)
    centre = side * identity.eye_spacing
    x = near_side(identity, figure.pose, centre + COLUMNS * identity.eye_size * _scale(figure), -0.04)
    upper, lower, crease = lids(figure, side, x)
    depth = skin_depth(identity, x, np.array(EYE_LEVEL)) - SOCKET
    top, bottom, fold = (project(figure.pose, x, y, depth) for y in (upper, lower, crease))
    lash = mix((44, 26, 24), palette.ink, 0.5)
    lid_tone = mix(palette.skin, (140, 60, 56), 0.16 + 0.10 * (identity.lashes > 0.5))
    white = mix((250, 248, 244), palette.paper, 0.4 * style.paper)
    width = (0.026 + 0.016 * identity.lashes) * (1.5 if style.eyes > 1.1 else 1.0)
    shadow = np.minimum(upper + 0.026, lower)
    shapes = [
        Shape(between(fold, top), lid_tone, show_T=show),
        Shape(between(top, bottom), white, show_T=show),
        Shape(between(top, project(figure.pose, x, shadow, depth)), mix(white, (96, 80, 100), 0.34), show_T=show),
        *_iris(figure, side, show),
        figure.stroke(bottom, 0.016, mix(palette.skin_dark, lash, 0.35), show),
        figure.stroke(fold[:, 1:-1], 0.013, mix(palette.skin_dark, palette.ink, 0.15), show),
        figure.stroke(_winged(figure, x, upper, depth, side), width, lash, show),
    ]
    return shapes


def _winged(figure: Figure, x: np.ndarray, upper: np.ndarray, depth: np.ndarray, side: float) -> np.ndarray:
    # Lashes reach past the outer corner, the more the longer they are.
    outer = np.clip(COLUMNS * side, 0, 1) ** 6
    reach = 0.012 + 0.03 * figure.identity.lashes
    return project(figure.pose, x + side * reach * outer, upper - 0.008 - 0.6 * reach * outer, depth - 0.05 * outer)


def _eye_shown(figure: Figure, side: float) -> np.ndarray:
    return figure.face_shown_T & (side * figure.pose.aside_T1[:, 0] < 0.86)


def _iris(figure: Figure, side: float, show_T: np.ndarray) -> list[Shape]:
    identity, palette, motion = figure.identity, figure.palette, figure.motion
    radius = 0.61 * identity.eye_size * _scale(figure)
    x = side * identity.eye_spacing + GAZE_X * motion["gaze_x"]
    y = EYE_LEVEL - 0.012 + GAZE_Y * motion["gaze_y"]
    iris = mix(identity.iris, palette.paper, 0.35 * figure.style.paper)
    parts = (
        (0.0, 0.0, 1.0, mix(iris, (12, 8, 14), 0.55)),
        (0.0, 0.0, 0.86, iris),
        (0.006, 0.022, 0.62, mix(iris, (255, 255, 255), 0.32)),
        (0.0, 0.0, 0.46, (16, 12, 16)),
        (-0.030, -0.034, 0.22, (255, 255, 255)),
        (0.034, 0.038, 0.13, mix((255, 255, 255), iris, 0.3)),
    )
    return [
        Shape(_disc(figure, side, x + dx, y + dy, radius * size), colour, show_T=show_T)
        for dx, dy, size, colour in parts
    ]


def _disc(figure: Figure, side: float, x: np.ndarray, y: np.ndarray, radius: float) -> np.ndarray:
    """Return a disc (T, N, 2) on the eyeball, cut by the lids."""
    identity = figure.identity
    half = identity.eye_size * _scale(figure)
    angle = np.linspace(-np.pi / 2, np.pi / 2, 13)
    column = np.clip(x + radius * np.sin(angle), side * identity.eye_spacing - half, side * identity.eye_spacing + half)
    column = near_side(identity, figure.pose, column, -0.04)
    upper, lower, _ = lids(figure, side, column)
    height = radius * np.cos(angle)
    top, bottom = np.clip(y - height, upper, lower), np.clip(y + height, upper, lower)
    depth = skin_depth(identity, column, np.array(EYE_LEVEL)) - SOCKET
    return between(project(figure.pose, column, top, depth), project(figure.pose, column, bottom, depth))


def _brow(figure: Figure, side: float) -> Shape:
    identity, motion = figure.identity, figure.motion
    u = np.linspace(-1, 1, 13) * side  # from the inner end (-1) to the outer end (1)
    inner = (1 - u) / 2
    frown = motion["frown"]
    x = side * (identity.eye_spacing + 0.012 + u * identity.eye_size * 1.26) - side * 0.028 * frown * inner
    y = EYE_LEVEL - identity.brow_height - 0.105 * motion["brow"] + frown * (0.088 * inner - 0.016)
    y = y - 0.038 * (1 - (u - 0.12) ** 2) + 0.012 * motion["eyelid"]
    if figure.style.eyes > 1.1:
        y = y - 0.03
    x = near_side(identity, figure.pose, x, -0.3)
    thick = 0.5 * identity.brow_thickness * np.where(u > 0, 1 - 0.72 * u, 1 - 0.25 * u**2) * 1.5
    depth = skin_depth(identity, x, y) + 0.01
    hair = figure.palette.hair
    tone = mix(hair, (30, 20, 16), 0.40) if np.mean(hair) < 150 else mix(hair, (96, 70, 44), 0.58)
    points = between(project(figure.pose, x, y - thick, depth), project(figure.pose, x, y + thick, depth))
    show = figure.face_shown_T & (side * figure.pose.aside_T1[:, 0] < 0.90)
    return Shape(points, tone, show_T=show)
