"""Painting: a list of shapes, back to front, becomes anti-aliased frames."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from lpm.data.puppets.identity import Colour

OVERSAMPLING = 2  # canvas pixels along each side of a picture pixel; halving is the fast case of OpenCV
FRACTION_BITS = 4  # OpenCV coordinates carry 1/16 of a pixel


@dataclass(frozen=True)
class Material:
    """A picture that fills shapes: ``pixels_HW3`` covers [-reach, reach] head units and moves with ``frame_T23``.

    ``frame_T23`` maps head units of the material to head units of the picture.
    """

    pixels_HW3: np.ndarray
    reach: float
    frame_T23: np.ndarray


@dataclass(frozen=True)
class Shape:
    """One polygon per frame.

    Attributes:
        points_TN2: corners in head units.
        fill: a colour, a colour per frame (T, 3), a material, or None.
        ink: the outline's colour, or None.
        ink_width: the outline's width in head units.
        show_T: False where the shape is hidden; None shows it always.
        closed: whether the outline returns to its first point.
    """

    points_TN2: np.ndarray
    fill: Colour | np.ndarray | Material | None
    ink: Colour | None = None
    ink_width: float = 0.0
    show_T: np.ndarray | None = None
    closed: bool = True


def paint(
    shapes: list[Shape], background_HW3: np.ndarray, unit: float, centre: tuple[float, float], size: int
) -> np.ndarray:
    """Paint shapes over a background and return frames (T, size, size, 3) uint8.

    ``unit`` is the length of one head unit and ``centre`` the place of the head's origin, in pixels of the background,
    which is ``OVERSAMPLING`` times as large as the frames.
    """
    frames = len(shapes[0].points_TN2)
    corners = [_pixels(shape.points_TN2, unit, centre) for shape in shapes]
    width = [max(1, round(shape.ink_width * unit)) for shape in shapes]
    out = np.empty((frames, size, size, 3), np.uint8)
    canvas = background_HW3.copy()
    mask = np.zeros(canvas.shape[:2], np.uint8)
    for t in range(frames):
        np.copyto(canvas, background_HW3)
        for shape, points, thickness in zip(shapes, corners, width, strict=True):
            if shape.show_T is not None and not shape.show_T[t]:
                continue
            polygon = [points[t]]
            if isinstance(shape.fill, Material):
                _fill_material(canvas, mask, points[t], shape.fill, t, unit, centre)
            elif shape.fill is not None:
                colour = shape.fill[t].tolist() if isinstance(shape.fill, np.ndarray) else shape.fill
                cv2.fillPoly(canvas, polygon, colour, cv2.LINE_AA, FRACTION_BITS)
            if shape.ink is not None:
                cv2.polylines(canvas, polygon, shape.closed, shape.ink, thickness, cv2.LINE_AA, FRACTION_BITS)
        cv2.resize(canvas, (size, size), dst=out[t], interpolation=cv2.INTER_AREA)
    return out


def _pixels(points_TN2: np.ndarray, unit: float, centre: tuple[float, float]) -> np.ndarray:
    # OpenCV puts whole coordinates on pixel centres.
    scaled = (points_TN2 * unit + (centre[0] - 0.5, centre[1] - 0.5)) * 2**FRACTION_BITS
    return np.clip(np.rint(scaled), -(2**20), 2**20).astype(np.int32)


def _fill_material(
    canvas: np.ndarray,
    mask: np.ndarray,
    polygon: np.ndarray,
    material: Material,
    t: int,
    unit: float,
    centre: tuple[float, float],
) -> None:
    height, width = mask.shape
    low, high = polygon.min(0) >> FRACTION_BITS, (polygon.max(0) >> FRACTION_BITS) + 2
    x0, y0, x1, y1 = max(low[0], 0), max(low[1], 0), min(high[0], width), min(high[1], height)
    if x1 <= x0 or y1 <= y0:
        return
    window = mask[y0:y1, x0:x1]
    window[:] = 0
    cv2.fillPoly(window, [polygon - (np.array((x0, y0), np.int32) << FRACTION_BITS)], 255, cv2.LINE_8, FRACTION_BITS)
    # Material pixel p lies at head units (p + 0.5) * step - reach; the frame and the canvas mapping follow.
    step = 2 * material.reach / len(material.pixels_HW3)
    linear, shift = material.frame_T23[t, :, :2], material.frame_T23[t, :, 2]
    moved = linear @ np.full(2, 0.5 * step - material.reach) + shift
    offset = moved * unit + np.asarray(centre) - 0.5 - (x0, y0)
    matrix = np.column_stack([linear * (step * unit), offset])
    source = cv2.warpAffine(
        material.pixels_HW3,
        matrix,
        (int(x1 - x0), int(y1 - y0)),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    cv2.copyTo(source, window, canvas[y0:y1, x0:x1])
