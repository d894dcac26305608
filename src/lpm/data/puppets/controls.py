"""The controls that move a puppet: one column per muscle or joint, one row per frame."""

from __future__ import annotations

import numpy as np

CONTROLS = (
    "yaw",  # degrees, > 0 turns the face to the image's right
    "pitch",  # degrees, > 0 looks down
    "roll",  # degrees, > 0 clockwise in the image
    "x",  # head shift in face heights, > 0 right
    "y",  # head shift in face heights, > 0 down
    "lean",  # > 0 towards the camera; 0.1 draws the head 10 % bigger
    "gaze_x",  # [-1, 1], > 0 right
    "gaze_y",  # [-1, 1], > 0 down
    "blink_l",  # [0, 1], the eye on the image's left; 1 is closed
    "blink_r",  # [0, 1], the eye on the image's right
    "eyelid",  # [-1, 1], -1 wide open, 1 squint
    "brow",  # [-1, 1], > 0 raised
    "frown",  # [0, 1]
    "smile",  # [-1, 1], < 0 corners down
    "smirk",  # [-1, 1], one-sided smile, > 0 on the image's right
    "sneer",  # [0, 1], wrinkled nose and raised upper lip
    "aperture",  # [0, 1], opening between the lips
    "width",  # [-1, 1], > 0 spread lips
    "round",  # [0, 1], protruded, rounded lips
    "tongue",  # [0, 1], visible tongue
    "breath",  # [-1, 1], chest and shoulders
)
COLUMN = {name: index for index, name in enumerate(CONTROLS)}


def neutral(frames: int = 1) -> np.ndarray:
    """Return controls (frames, K) float32 of a still, neutral face.

    >>> neutral(2).shape
    (2, 21)
    """
    return np.zeros((frames, len(CONTROLS)), np.float32)


def pose(**values: float) -> np.ndarray:
    """Return one row of controls (K,) with the named ones set.

    >>> float(pose(yaw=20.0)[COLUMN["yaw"]])
    20.0
    """
    row = neutral()[0]
    for name, value in values.items():
        if name not in COLUMN:
            raise ValueError(f"control {name!r} is unknown; choose one of {', '.join(CONTROLS)}")
        row[COLUMN[name]] = value
    return row
