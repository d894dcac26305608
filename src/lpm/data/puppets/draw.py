"""Puppets: drawn characters that turn controls into frames."""

from __future__ import annotations

import cv2
import numpy as np

from lpm.data.puppets import draw_body, draw_eyes, draw_glasses, draw_hair, draw_head, draw_mouth, draw_nose
from lpm.data.puppets.controls import COLUMN, CONTROLS
from lpm.data.puppets.draw_canvas import OVERSAMPLING, Shape, paint
from lpm.data.puppets.draw_figure import Figure, palette
from lpm.data.puppets.geometry import Pose, project, turn_matrix
from lpm.data.puppets.geometry_head import MOUTH_LEVEL, skin_depth
from lpm.data.puppets.identity import Identity
from lpm.data.puppets.style import style as style_named
from lpm.data.puppets.style_background import background
from lpm.data.puppets.style_material import materials

VIEWS = {"front": 0.0, "left": -82.0, "right": 82.0, "rear": 180.0}
MIN_SIZE, MAX_SIZE = 16, 2048
UNIT = 0.355  # of the picture's side is one head unit at framing 1
CHUNK = 128  # frames whose geometry is held in memory at once
LIMITS = dict.fromkeys(CONTROLS, (-1.0, 1.0)) | dict.fromkeys(
    ("blink_l", "blink_r", "frown", "sneer", "aperture", "round", "tongue"), (0.0, 1.0)
)
FREE = {"yaw": 75.0, "pitch": 60.0, "roll": 60.0, "x": 2.0, "y": 2.0, "lean": 0.8}


class Puppet:
    """One identity drawn at one size in one style.

    Args:
        identity: who is drawn.
        size: pixels of the square frames' side, 16..2048.
        style: clean, flat, sketch or textured.
        framing: magnification, 0.5..3; 1.0 shows head and shoulders, 1.35 is tight on the face.

    >>> from lpm.data.puppets.controls import neutral
    >>> from lpm.data.puppets.identity import sample_identity
    >>> Puppet(sample_identity(1), size=48).render(neutral(2)).shape
    (2, 48, 48, 3)
    """

    def __init__(self, identity: Identity, size: int = 96, style: str = "clean", framing: float = 1.0) -> None:
        if not isinstance(identity, Identity):
            raise ValueError(f"identity is {type(identity).__name__}; pass an Identity, for example sample_identity(0)")
        if not isinstance(size, int) or not MIN_SIZE <= size <= MAX_SIZE:
            raise ValueError(
                f"size {size!r} is not a whole number of pixels in {MIN_SIZE}..{MAX_SIZE}; choose one, for example 96"
            )
        if not 0.5 <= framing <= 3.0:
            raise ValueError(
                f"framing {framing!r} is outside 0.5..3; use 1.0 for head and shoulders, 1.35 for the face"
            )
        self.identity, self.size, self.framing = identity, size, framing
        self.style = style_named(style)
        self.palette = palette(identity, self.style)
        canvas = size * OVERSAMPLING
        self._unit, self._centre = camera(canvas, framing)
        self._background = background(identity, self.style, canvas)
        self._materials = materials(identity, self.style, self.palette)

    def render(self, controls_TK: np.ndarray, view: str = "front", turn_T: np.ndarray | None = None) -> np.ndarray:
        """Draw controls (T, K), columns as ``CONTROLS``, as frames (T, size, size, 3) uint8 RGB.

        ``view`` turns the whole character: front, left (faces image-left), right or rear; ``turn_T`` turns it on from
        there frame by frame, in degrees, > 0 to the image's right. Shape controls are clipped to their range. Raises
        ValueError for an unknown view, a wrong shape or values that are not finite.
        """
        if view not in VIEWS:
            raise ValueError(f"view {view!r} is unknown; choose one of {', '.join(VIEWS)}")
        controls_TK = np.asarray(controls_TK, np.float64)
        if controls_TK.ndim != 2 or controls_TK.shape[1] != len(CONTROLS):
            raise ValueError(
                f"controls of shape {controls_TK.shape} are not (frames, {len(CONTROLS)}); "
                f"columns are {', '.join(CONTROLS)}"
            )
        if not np.isfinite(controls_TK).all():
            column = int(np.argwhere(~np.isfinite(controls_TK))[0, 1])
            raise ValueError(f"control {CONTROLS[column]!r} holds NaN or infinity; pass finite numbers")
        if turn_T is not None and (np.shape(turn_T) != (len(controls_TK),) or not np.isfinite(turn_T).all()):
            raise ValueError(
                f"turn of shape {np.shape(turn_T)} is not one finite angle for each of {len(controls_TK)} frames; give "
                "degrees (frames,)"
            )
        threads = cv2.getNumThreads()
        cv2.setNumThreads(0)
        try:
            turns = np.full(len(controls_TK), VIEWS[view]) + (0.0 if turn_T is None else turn_T)
            chunks = [self._render(controls_TK[run], turns[run]) for run in _runs(controls_TK, turns)]
        finally:
            cv2.setNumThreads(threads)
        return np.concatenate([np.zeros((0, self.size, self.size, 3), np.uint8), *chunks])

    def _render(self, controls_TK: np.ndarray, turn_T: np.ndarray) -> np.ndarray:
        figure = self._figure(controls_TK, turn_T)
        return paint(shapes(figure), self._background, self._unit, self._centre, self.size)

    def _figure(self, controls_TK: np.ndarray, turn: np.ndarray) -> Figure:
        motion = _motion(controls_TK)
        pose, torso = poses(motion, turn)
        placed = {name: place(pose if on_head else torso) for name, (place, on_head) in self._materials.items()}
        return Figure(self.identity, self.style, self.palette, pose, torso, motion, placed)


def camera(side: int, framing: float) -> tuple[float, tuple[float, float]]:
    """Return pixels of a head unit and the pixel (x, y) of the head's origin in a square picture."""
    return UNIT * framing * side, (0.5 * side, (0.475 - 0.02 * (framing - 1)) * side)


def mouth_centres(identity: Identity, controls_TK: np.ndarray, size: int, framing: float) -> np.ndarray:
    """Return where a front view shows the middle of the mouth, pixels (T, 2) as x, y."""
    head, _ = poses(_motion(np.asarray(controls_TK, np.float64)), 0.0)
    x, y = np.zeros(1), np.full(1, MOUTH_LEVEL)
    unit, centre = camera(size, framing)
    return project(head, x, y, skin_depth(identity, x, y))[:, 0] * unit + centre


def shapes(figure: Figure) -> list[Shape]:
    """Return everything that is drawn, back to front."""
    ears_on_top = draw_hair.haircut(figure.identity).ears
    return [
        *draw_hair.hair_behind(figure),
        *draw_body.body(figure),
        *draw_head.ears(figure, near=False),
        *draw_head.face(figure),
        *draw_head.beard(figure),
        *draw_eyes.eyes(figure),
        *draw_nose.nose(figure),
        *draw_nose.folds(figure),
        *draw_mouth.mouth(figure),
        *([] if ears_on_top else draw_head.ears(figure, near=True)),
        *draw_eyes.brows(figure),
        *draw_hair.hair_in_front(figure),
        *(draw_head.ears(figure, near=True) if ears_on_top else []),
        *draw_glasses.glasses(figure),
    ]


def poses(motion: dict[str, np.ndarray], turn: float | np.ndarray) -> tuple[Pose, Pose]:
    """Return the pose of the head and the calmer one of the torso; ``turn`` is the view's yaw in degrees (of each
    frame).
    """
    column = {name: values[:, 0] for name, values in motion.items()}
    yaw, pitch, roll = (np.radians(column[name]) for name in ("yaw", "pitch", "roll"))
    base = np.radians(turn)
    scale = 1 + column["lean"]
    # Shifts are in face heights, about 1.84 head units.
    shift = 1.84 * np.stack([column["x"], column["y"]], -1)
    head = Pose(turn_matrix(base + yaw, pitch), roll, shift, scale)
    still = np.zeros_like(yaw)
    torso = Pose(turn_matrix(base + 0.12 * yaw, still), 0.05 * roll, shift * (0.45, 0.35), scale)
    return head, torso


def _runs(controls_TK: np.ndarray, turn_T: np.ndarray) -> list[slice]:
    """Return the frames that are drawn together: at most ``CHUNK``, and all from one side where the character turns.

    What a side shows at all, and with which surface, is decided for all frames of a run.
    """
    side_T = np.zeros(len(turn_T), int)
    if len(set(turn_T.tolist())) > 1:
        head, torso = poses(_motion(controls_TK), turn_T)
        side_T = 3 * (head.facing_T1[:, 0] > -0.2) + np.digitize(torso.facing_T1[:, 0], (-0.5, 0.5))
    starts = [i for i in range(len(turn_T)) if i == 0 or side_T[i] != side_T[i - 1]]
    ends = [*starts[1:], len(turn_T)]
    return [slice(i, min(i + CHUNK, end)) for start, end in zip(starts, ends) for i in range(start, end, CHUNK)]


def _motion(controls_TK: np.ndarray) -> dict[str, np.ndarray]:
    columns = {}
    for name, index in COLUMN.items():
        low, high = (-FREE[name], FREE[name]) if name in FREE else LIMITS[name]
        columns[name] = np.clip(controls_TK[:, index : index + 1], low, high)
    return columns
