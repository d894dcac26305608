"""Drawing glasses."""

from __future__ import annotations

import numpy as np

from lpm.data.puppets.draw_canvas import Shape
from lpm.data.puppets.draw_figure import Figure
from lpm.data.puppets.geometry import project
from lpm.data.puppets.geometry_head import EYE_LEVEL

FRAME = (40.0, 38.0, 46.0)
PLANE = 0.56  # depth of the lenses


def glasses(figure: Figure) -> list[Shape]:
    """Return rims, bridge and temples, without lenses: eyes stay as readable as without glasses."""
    if not figure.identity.glasses:
        return []
    identity, pose = figure.identity, figure.pose
    width = 0.026 if figure.style.eyes < 1.1 else 0.034
    around = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    grow = figure.style.eyes**0.5

    def squircle(values: np.ndarray) -> np.ndarray:
        return np.sign(values) * np.abs(values) ** 0.75

    def bend(x: np.ndarray) -> np.ndarray:
        return PLANE - 0.35 * x**2

    shapes = []
    for side in (-1.0, 1.0):
        show = figure.face_shown_T & (side * pose.aside_T1[:, 0] < 0.93)
        x = side * identity.eye_spacing + 0.205 * grow * squircle(np.cos(around))
        ring = project(pose, x, EYE_LEVEL + 0.02 + 0.158 * grow * squircle(np.sin(around)), bend(x))
        shapes.append(Shape(ring, None, FRAME, width, show))
        start, end = side * (identity.eye_spacing + 0.20 * grow), side * identity.face_width
        temple = project(
            pose,
            np.array([start, end]),
            np.array([EYE_LEVEL - 0.01, EYE_LEVEL + 0.01]),
            np.array([bend(np.array(start)), -0.06]),
        )
        shapes.append(
            Shape(temple, None, FRAME, width, figure.face_shown_T & (side * pose.aside_T1[:, 0] < 0.15), closed=False)
        )
    x = np.linspace(-1, 1, 7) * (identity.eye_spacing - 0.20 * grow)
    bridge = project(pose, x, EYE_LEVEL - 0.02 - 0.025 * (1 - np.linspace(-1, 1, 7) ** 2), PLANE + 0.03)
    shapes.append(
        Shape(bridge, None, FRAME, width, figure.face_shown_T & (np.abs(pose.aside_T1[:, 0]) < 0.93), closed=False)
    )
    return shapes
