"""Reactions to the partner: drawn from the cues by the published rule, then acted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lpm.data.puppets.behaviour import REACTIONS, RULE, Manner
from lpm.data.puppets.controls import COLUMN
from lpm.data.puppets.conversation import Cue, sample_lag
from lpm.data.puppets.gesture import bump, nod


@dataclass(frozen=True)
class Reaction:
    """A movement in answer to a cue; ``size`` is degrees for nods and tilts, a control value otherwise."""

    t: float
    kind: str
    cue: Cue
    size: float
    count: int = 1

    @property
    def lag(self) -> float:
        """Seconds from the cue to the onset."""
        return self.t - self.cue.t


def react(
    rng: np.random.Generator, cues: list[Cue], busy: list[tuple[float, float]], seconds: float, manner: Manner
) -> list[Reaction]:
    """Draw the reactions to a partner's cues, in order of time.

    Args:
        rng: source of chance.
        cues: the partner's cues.
        busy: spans in which the person holds the floor; no reaction begins there.
        seconds: length of the scene.
        manner: scales the probabilities.
    """
    reactions: list[Reaction] = []
    free_from = dict.fromkeys(REACTIONS, 0.0)
    for cue in cues:
        for kind, probability in RULE.reaction[cue.kind].items():
            happens, start = rng.random() < probability * manner.reaction, cue.t + sample_lag(rng)
            inside = any(first <= start < last for first, last in busy)
            if happens and not inside and free_from[kind] <= start < seconds:
                reactions.append(_shape(rng, kind, start, cue))
                free_from[kind] = start + max(RULE.refractory, reactions[-1].count * RULE.nod_period)
    return sorted(reactions, key=lambda reaction: reaction.t)


def act(controls: np.ndarray, times: np.ndarray, reactions: list[Reaction], motion: float) -> None:
    """Add reactions to controls (N, K) in place; head reactions shrink with ``motion``, never below the floor."""
    head = RULE.gesture_floor + (1 - RULE.gesture_floor) * motion
    for reaction in reactions:
        start, size = reaction.t, reaction.size
        match reaction.kind:
            case "nod":
                controls[:, COLUMN["pitch"]] += head * nod(times, start, reaction.count, size)
            case "smile":
                controls[:, COLUMN["smile"]] += size * bump(times, start, 0.3, 0.6, 0.6)
            case "brow_raise":
                controls[:, COLUMN["brow"]] += size * bump(times, start, 0.15, 0.35, 0.35)
            case "gaze_shift":
                away = bump(times, start, 0.06, 0.5, 0.06)
                controls[:, COLUMN["gaze_x"]] += size * away
                controls[:, COLUMN["yaw"]] += head * 6 * size * bump(times, start, 0.25, 0.25, 0.3)
            case "tilt":
                controls[:, COLUMN["roll"]] += head * size * bump(times, start, 0.35, 0.7, 0.5)


def _shape(rng: np.random.Generator, kind: str, start: float, cue: Cue) -> Reaction:
    side = float(rng.choice((-1, 1)))
    sizes = {
        "nod": rng.uniform(*RULE.nod_size),
        "smile": rng.uniform(0.35, 0.7),
        "brow_raise": rng.uniform(0.5, 0.9),
        "gaze_shift": side * rng.uniform(0.4, 0.8),
        "tilt": side * rng.uniform(5, 9),
    }
    count = 1 + int(rng.choice(len(RULE.nod_counts), p=RULE.nod_counts)) if kind == "nod" else 1
    return Reaction(start, kind, cue, float(sizes[kind]), count)
