"""Text prompts: a caption of mood and manner, and a timeline of actions that a reader of the video can check."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lpm.data.puppets.behaviour import MOODS
from lpm.data.puppets.controls import COLUMN
from lpm.data.puppets.gesture import bump, nod, shake

TOLERANCE = 0.4  # seconds a checked action may come early or late
RAMP = 0.22  # seconds a held action needs to arrive and to leave


@dataclass(frozen=True)
class Action:
    """A movement by request.

    Attributes:
        text: what the prompt says, after "the character".
        control: the control it moves.
        size: value it reaches; degrees for the head.
        rate: oscillations a second, 0 for a held value.
        also: further controls and their values, as eyes that go with the head.
    """

    text: str
    control: str
    size: float
    rate: float = 0.0
    also: tuple[tuple[str, float], ...] = ()

    def check(self) -> dict[str, str | float]:
        """Return how to verify it: half of an oscillation's swing, or 60 % of a held value for half of the time."""
        if self.rate:
            swing = abs(self.size) * (1.0 if self.control == "pitch" else 2.0)
            found: dict[str, str | float] = {"signal": self.control, "kind": "oscillation"}
            return found | {"min_ptp": round(swing / 2, 2), "min_cycles": 1.5, "tol_s": TOLERANCE}
        bound = "min" if self.size > 0 else "max"
        return {
            "signal": self.control,
            "kind": "level",
            bound: round(0.6 * self.size, 2),
            "min_frac": 0.5,
            "tol_s": TOLERANCE,
        }


ACTIONS = {
    "nod": Action("nods", "pitch", 11.0, 2.4),
    "head_shake": Action("shakes the head", "yaw", 12.0, 2.4),
    "look_left": Action("looks left", "gaze_x", -0.8, also=(("yaw", -5.0),)),
    "look_right": Action("looks right", "gaze_x", 0.8, also=(("yaw", 5.0),)),
    "look_up": Action("looks up", "gaze_y", -0.8, also=(("pitch", -4.0),)),
    "look_down": Action("looks down", "gaze_y", 0.8, also=(("pitch", 4.0),)),
    "turn_left": Action("turns the head to the left", "yaw", -22.0, also=(("gaze_x", -0.2),)),
    "turn_right": Action("turns the head to the right", "yaw", 22.0, also=(("gaze_x", 0.2),)),
    "tilt_left": Action("tilts the head to the left", "roll", -12.0),
    "tilt_right": Action("tilts the head to the right", "roll", 12.0),
    "smile": Action("smiles", "smile", 0.9),
    "raise_brows": Action("raises the eyebrows", "brow", 0.9),
    "frown": Action("frowns", "frown", 0.9, also=(("brow", -0.5),)),
    "lean_in": Action("leans in", "lean", 0.16),
    "close_eyes": Action("closes the eyes", "blink_l", 1.0, also=(("blink_r", 1.0),)),
}
SHORTEST, LONGEST = 0.9, 1.4  # seconds of an action
FIRST_START, REST = 0.5, 0.5  # seconds before the first action and between two


def plan_actions(rng: np.random.Generator, seconds: float, count: int, emotion: str, intensity: float) -> list[dict]:
    """Draw up to ``count`` actions that do not overlap, as the ``timeline`` of a benchmark case.

    Actions that the mood already shows are left out, because nothing could tell them from the mood.
    Each is ``{"t0", "t1", "text", "action", "check"}``; left and right are the image's.
    """
    face = MOODS[emotion].face
    names = [name for name, action in ACTIONS.items() if abs(face.get(action.control, 0.0)) * intensity < 0.2]
    count = min(count, len(names), int((seconds - FIRST_START) / (LONGEST + REST)))
    if count < 1:
        return []
    slot = (seconds - FIRST_START) / count
    timeline = []
    for index, name in enumerate(rng.choice(names, count, replace=False)):
        length = rng.uniform(SHORTEST, LONGEST)
        start = FIRST_START + index * slot + rng.uniform(0, slot - length - REST / 2)
        span = {"t0": round(start, 2), "t1": round(start + length, 2)}
        timeline.append({**span, "text": ACTIONS[name].text, "action": str(name), "check": ACTIONS[name].check()})
    return timeline


def act_timeline(controls: np.ndarray, times: np.ndarray, timeline: list[dict]) -> None:
    """Add the actions to controls (N, K) in place; other movement of the same control fades out meanwhile."""
    for entry in timeline:
        action, start, length = ACTIONS[entry["action"]], entry["t0"], entry["t1"] - entry["t0"]
        held = bump(times, start, RAMP, length - 2 * RAMP, RAMP)
        for control, size in ((action.control, action.size), *action.also):
            column = controls[:, COLUMN[control]]
            if not action.rate:
                column[:] = column * (1 - held) + size * held
                continue
            still = np.interp(start, times, column)  # an oscillation swings about where the head is
            nods = max(2, round(length * action.rate))
            swing = (
                nod(times, start, nods, size) if control == "pitch" else shake(times, start, length, size, action.rate)
            )
            column[:] = column * (1 - held) + still * held + swing


def describe(state: str, emotion: str, intensity: float, manner: str, language: str = "") -> str:
    """Return the caption of a character; listeners get what does not change with time, mood and manner only.

    >>> describe("speak", "happy", 0.9, "lively", "English")
    'A lively character speaks English in a very happy mood.'
    >>> describe("listen", "neutral", 0.0, "shy")
    'A shy character listens in a neutral mood.'
    """
    verb = {
        "speak": f"speaks {language}",
        "listen": "listens",
        "conversation": f"talks with a partner in {language}",
        "sing": "sings",
        "idle": "waits quietly",
    }[state]
    degree = "" if emotion == "neutral" else "very " if intensity > 0.8 else "slightly " if intensity < 0.6 else ""
    return f"{_article(manner).capitalize()} character {verb} in {_article(degree + MOODS[emotion].word)} mood."


def with_timeline(caption: str, timeline: list[dict], start: float = 0.0, seconds: float = float("inf")) -> str:
    """Return the caption followed by the actions inside a window of the scene, in the window's clock.

    >>> with_timeline("A calm character sings.", [{"t0": 2.0, "t1": 3.0, "text": "smiles"}], start=0.5)
    'A calm character sings. At 1.5 s the character smiles.'
    """
    inside = (entry for entry in timeline if start <= entry["t0"] and entry["t1"] <= start + seconds)
    return " ".join([caption, *(f"At {entry['t0'] - start:.1f} s the character {entry['text']}." for entry in inside)])


def _article(words: str) -> str:
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"
