"""Head poses, weak perspective, and the outlines of bodies made of stacked ellipses.

Head coordinates: x right, y down, z to the viewer, origin between the eyes and the nose, unit about half a face height.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

PIVOT = np.array((0.0, 0.75, -0.15))  # where the skull sits on the neck
PERSPECTIVE = 0.10


@dataclass(frozen=True)
class Pose:
    """How T heads stand: ``turn_T33`` (pitch, then yaw), then in the picture ``roll_T``, ``shift_T2``, ``scale_T``."""

    turn_T33: np.ndarray
    roll_T: np.ndarray
    shift_T2: np.ndarray
    scale_T: np.ndarray

    @property
    def aside_T1(self) -> np.ndarray:
        """How far the face points to the image's right: -1 left profile, 0 front or rear, 1 right profile."""
        return self.turn_T33[:, 0, 2][:, None]

    @property
    def facing_T1(self) -> np.ndarray:
        """How far the face points to the viewer: 1 front, 0 profile, -1 rear."""
        return self.turn_T33[:, 2, 2][:, None]


@dataclass(frozen=True)
class Rows:
    """A body as horizontal ellipses: per row height ``y``, half width, front and back half depth, and centre depth.

    All are (N,) or (T, N).
    """

    y: np.ndarray
    width: np.ndarray
    front: np.ndarray
    back: np.ndarray
    centre: np.ndarray


def turn_matrix(yaw_T: np.ndarray, pitch_T: np.ndarray) -> np.ndarray:
    """Return rotations (T, 3, 3) that pitch the head and then yaw it; angles in radians."""
    cos_yaw, sin_yaw, cos_pitch, sin_pitch = np.cos(yaw_T), np.sin(yaw_T), np.cos(pitch_T), np.sin(pitch_T)
    zero, one = np.zeros_like(yaw_T), np.ones_like(yaw_T)
    pitch = np.stack([one, zero, zero, zero, cos_pitch, sin_pitch, zero, -sin_pitch, cos_pitch], -1).reshape(-1, 3, 3)
    yaw = np.stack([cos_yaw, zero, sin_yaw, zero, one, zero, -sin_yaw, zero, cos_yaw], -1).reshape(-1, 3, 3)
    return yaw @ pitch


def project(pose: Pose, x: np.ndarray, y: np.ndarray, z: np.ndarray | float) -> np.ndarray:
    """Project points, each coordinate broadcastable to (T, N), to the picture plane (T, N, 2) in head units."""
    points = np.stack(np.broadcast_arrays(x, y, z), -1) - PIVOT
    turned = points @ pose.turn_T33.transpose(0, 2, 1)
    flat = turned[..., :2] * (1 + PERSPECTIVE * turned[..., 2:])
    cos_roll, sin_roll = np.cos(pose.roll_T)[:, None], np.sin(pose.roll_T)[:, None]
    rolled = np.stack(
        [flat[..., 0] * cos_roll - flat[..., 1] * sin_roll, flat[..., 0] * sin_roll + flat[..., 1] * cos_roll], -1
    )
    return (rolled + PIVOT[:2] + pose.shift_T2[:, None]) * pose.scale_T[:, None, None]


def limb_angle(pose: Pose, rows: Rows) -> np.ndarray:
    """Return the angle (T, N) around each row's ellipse, 0 in front, that reaches furthest to the image's right."""
    front = np.where(pose.aside_T1 >= 0, rows.front, rows.back)
    return np.arctan2(rows.width * pose.turn_T33[:, 0, 0][:, None], front * pose.aside_T1)


def on_rows(rows: Rows, angle: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return x, y, z of the point at ``angle`` on every row's ellipse."""
    depth = np.where(np.cos(angle) >= 0, rows.front, rows.back)
    return rows.width * np.sin(angle), rows.y + 0 * angle, rows.centre + depth * np.cos(angle)


def outline(pose: Pose, rows: Rows) -> tuple[np.ndarray, np.ndarray]:
    """Return the left and the right outline, each (T, N, 2) from the first row to the last.

    On an ellipse x = A sin(angle) + B cos(angle) + C, so its extremes lie at atan2(A, B) and opposite to it.
    """
    right = limb_angle(pose, rows)
    # The left limb lies on the other depth half, which has its own radius.
    back = np.where(pose.aside_T1 >= 0, rows.back, rows.front)
    left = np.arctan2(rows.width * pose.turn_T33[:, 0, 0][:, None], back * pose.aside_T1) + np.pi
    return project(pose, *on_rows(rows, left)), project(pose, *on_rows(rows, right))


def ellipsoid(
    pose: Pose, centre: tuple[float, float, float], radii: tuple[float, float, float], count: int = 40
) -> np.ndarray:
    """Return the outline (T, count, 2) of a rotated ellipsoid: the square root of the projected covariance."""
    axes = pose.turn_T33[:, :2] * np.asarray(radii)
    covariance = axes @ axes.transpose(0, 2, 1)
    root = np.linalg.cholesky(covariance)
    around = np.linspace(0, 2 * np.pi, count, endpoint=False)
    ring = np.stack([np.cos(around), np.sin(around)], -1) @ root.transpose(0, 2, 1)
    # Draw the ring in the picture plane through the centre: undo the turn so that project applies it once.
    flat = np.concatenate([ring, np.zeros_like(ring[..., :1])], -1) @ pose.turn_T33 + np.asarray(centre)
    return project(pose, flat[..., 0], flat[..., 1], flat[..., 2])


def ribbon(points: np.ndarray, width: np.ndarray | float) -> np.ndarray:
    """Turn lines (T, N, 2) into tapered polygons (T, 2N, 2) of the given full width, scalar or (T, N) or (N,)."""
    along = np.gradient(points, axis=1)
    across = np.stack([-along[..., 1], along[..., 0]], -1) / (np.linalg.norm(along, axis=-1, keepdims=True) + 1e-6)
    half = 0.5 * np.broadcast_to(width, points.shape[:2])[..., None] * across
    return np.concatenate([points + half, (points - half)[:, ::-1]], 1)


def between(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the polygon (T, N + M, 2) between two lines that run in the same direction."""
    return np.concatenate([first, second[:, ::-1]], 1)


def smooth_step(value: np.ndarray, low: float, high: float) -> np.ndarray:
    """Return 0 below ``low``, 1 above ``high`` and a smooth rise between."""
    t = np.clip((value - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)
