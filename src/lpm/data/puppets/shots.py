"""The cut of a two-person video: which camera is on the air when, and where it shows whom.

Three cameras as on a talk show: a single of each person and a two-shot. The editor mostly shows who speaks, sometimes
the listener's reaction, and never cuts to the camera that is already on the air.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

CAMERAS = ("first", "second", "both")
SHOT_SECONDS = (2.5, 6.0)
TWO_SHOT = 0.35  # chance that a cut goes to both people
REACTION = 0.25  # chance that a single shows the listener instead of the speaker


@dataclass(frozen=True)
class Shot:
    """Frames start to end (exclusive) seen by one camera of `CAMERAS`."""

    start: int
    end: int
    camera: str

    @property
    def people(self) -> tuple[int, ...]:
        """Indices of the people in the picture, from left to right."""
        return {"first": (0,), "second": (1,), "both": (0, 1)}[self.camera]


def plan_shots(speaking_PT: np.ndarray, fps: float, rng: np.random.Generator) -> list[Shot]:
    """Return shots that cover all frames.

    Args:
        speaking_PT: bool, who of the two speaks when.
        fps: frames a second.
        rng: source of chance.
    """
    frames = speaking_PT.shape[1]
    shots: list[Shot] = []
    start = 0
    while start < frames:
        end = start + round(rng.uniform(*SHOT_SECONDS) * fps)
        if frames - end < SHOT_SECONDS[0] * fps:
            end = frames
        camera = choose_camera(speaking_PT[:, start:end].mean(axis=1), rng)
        while shots and camera == shots[-1].camera:
            camera = choose_camera(speaking_PT[:, start:end].mean(axis=1), rng)
        shots.append(Shot(start, end, camera))
        start = end
    return shots


def choose_camera(speech_P: np.ndarray, rng: np.random.Generator) -> str:
    """Return a camera, given how much each person speaks in the coming shot."""
    if rng.random() < TWO_SHOT:
        return "both"
    shown = int(np.argmax(speech_P))
    return CAMERAS[1 - shown if rng.random() < REACTION else shown]
