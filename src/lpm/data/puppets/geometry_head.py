"""The shape of the face and skull of one identity: rows of ellipses and the skin's depth at a point."""

from __future__ import annotations

import numpy as np

from lpm.data.puppets.geometry import Pose, Rows, limb_angle
from lpm.data.puppets.identity import Identity

JAW_DROP = 0.13  # how far a fully open mouth lowers the chin
CENTRE, FRONT = -0.05, 0.56
SKULL_CENTRE = (0.0, -0.14, -0.16)
EYE_LEVEL, MOUTH_LEVEL = -0.04, 0.505


def face_rows(identity: Identity, aperture_T1: np.ndarray, count: int = 64) -> Rows:
    """Return the face from forehead to chin; opening the mouth lowers the chin."""
    around = np.linspace(-0.47 * np.pi, 0.5 * np.pi, count)
    level, rest = np.sin(around), np.cos(around)
    y = identity.face_height * level + JAW_DROP * aperture_T1 * np.clip(level, 0, 1) ** 2
    width = face_width(identity, level)
    skull = 0.27 * np.exp(-((np.maximum(level - 0.1, 0) / 0.18) ** 2))
    jaw_corner = 0.15 * np.exp(-(((level - 0.76) / 0.17) ** 2))
    back = (0.18 + skull + jaw_corner) * rest**0.6
    return Rows(y, width, row_front(level), back, row_centre(level))


def face_width(identity: Identity, level: np.ndarray) -> np.ndarray:
    """Return the half width at ``level`` = y / face height in [-1, 1]: a superellipse that narrows to the jaw."""
    rest = np.sqrt(np.clip(1 - level**2, 0, 1))
    exponent = np.where(level > 0, 2 / identity.chin, 0.86)
    return identity.face_width * rest**exponent * (1 - identity.jaw * np.clip(level, 0, 1) ** 2.2)


def row_centre(level: np.ndarray) -> np.ndarray:
    """Return the depth of each row's centre: the lower the row, the more it lies forward (the chin)."""
    return CENTRE + 0.48 * np.clip(level, 0, 1) ** 2


def row_front(level: np.ndarray) -> np.ndarray:
    """Return the half depth of the front of each row: the chin is a smaller ball than the forehead."""
    rest = np.sqrt(np.clip(1 - level**2, 0, 1))
    return FRONT * rest**0.6 * (1 - 0.5 * np.clip(level, 0, 1) ** 1.6)


def skin_depth(identity: Identity, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return z of the face's surface at (x, y)."""
    level = np.clip(y / identity.face_height, -0.97, 0.97)
    x, level = np.broadcast_arrays(x, level)
    across = np.clip(x / (1.03 * face_width(identity, level)), -0.99, 0.99)
    return row_centre(level) + row_front(level) * np.sqrt(1 - across**2)


def near_side(identity: Identity, pose: Pose, x: np.ndarray, level: float) -> np.ndarray:
    """Clip x (T, N) or (N,) to the part of the face that the pose lets us see; the rest folds into the outline."""
    row = np.array([level])
    width = face_width(identity, row)
    front = row_front(row)
    limb = limb_angle(pose, Rows(row, width, front, front, row))
    right = np.where(pose.aside_T1 > 0, width * np.sin(limb), width)
    left = np.where(pose.aside_T1 < 0, width * np.sin(limb - np.pi), -width)
    return np.clip(x, left, right)
