"""Mixtures: how often clips of each activity are drawn, as a function of the number of the batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import Protocol

import numpy as np

from lpm.data.schema import Sample

ACTIVITIES = ("speaking", "listening", "idle", "conversation")
TURN = 0.75  # seconds without a break that make speech or listening a turn, not a murmur or a pause


def activity(sample: Sample) -> str:
    """Return what a clip shows, one of ``ACTIVITIES``, from its labels of states (``json`` parsed).

    Turns of both sides make a conversation; else the longer of speaking and listening counts, where it is a turn.

    >>> activity({"json": {"fps": 24.0, "states": [[0, 9, "listening"], [9, 99, "speaking"]]}})
    'speaking'
    """
    meta = sample["json"]
    longest = dict.fromkeys(ACTIVITIES, 0.0)
    for start, end, label in meta.get("states", []):
        longest[label] = max(longest[label], (end - start) / meta["fps"])
    speaking, listening = longest["speaking"], longest["listening"]
    if min(speaking, listening) >= TURN:
        return "conversation"
    if max(speaking, listening) < TURN:
        return "idle"
    return "speaking" if speaking > listening else "listening"


@dataclass(frozen=True)
class Shares:
    """Shares of the draws by activity at batch number ``step``; they need not sum to one."""

    step: int
    speaking: float = 0.0
    listening: float = 0.0
    idle: float = 0.0
    conversation: float = 0.0


class Emphasis(Protocol):
    """Which clips of one activity are drawn more often than others; its ``repr`` tells all its settings."""

    def weights(self, samples: Sequence[Sample]) -> np.ndarray:
        """Return one positive weight per sample, (N,)."""
        ...


class Mixture:
    """Target shares of the draws by activity, changing while training runs (LPM 1.0, Base LPM: the curriculum).

    Between two points of the schedule shares move in a straight line; before the first and after the last they stay.

    Args:
        schedule: shares at batch numbers that rise; one point for a mixture that stays.
        emphasis: weights of the clips inside each activity, such as ``ListenerEmphasis()``; all equal if None.

    >>> ramp = Mixture([Shares(0, speaking=1.0), Shares(10, speaking=1.0, listening=1.0)])
    >>> ramp.shares(5).round(2).tolist()
    [0.75, 0.25, 0.0, 0.0]
    """

    def __init__(self, schedule: list[Shares], emphasis: Emphasis | None = None) -> None:
        steps = [point.step for point in schedule]
        if not steps or steps != sorted(set(steps)):
            raise ValueError(f"a mixture's schedule has steps {steps}; give one or more, each above the one before")
        points = np.array([astuple(point)[1:] for point in schedule], np.float64)
        if points.min() < 0 or not (points.sum(axis=1) > 0).all():
            raise ValueError(f"shares {points.tolist()} must be 0 or more, and one of each step above 0; raise one")
        self.steps, self.points = steps, points / points.sum(axis=1, keepdims=True)
        self.schedule, self.emphasis = schedule, emphasis

    def __repr__(self) -> str:
        return f"Mixture({self.schedule}, {self.emphasis})"

    def shares(self, step: int) -> np.ndarray:
        """Return the shares at batch number ``step``, one for each of ``ACTIVITIES``; they sum to one."""
        return np.array([np.interp(step, self.steps, column) for column in self.points.T])

    def over(self, samples: Sequence[Sample]) -> Draws:
        """Return the mixture over these samples.

        Raises:
            ValueError: no sample of an activity that has a share.
        """
        activity_N = np.array([activity(sample) for sample in samples])
        weight_N = np.ones(len(samples)) if self.emphasis is None else self.emphasis.weights(samples)
        for name, wanted in zip(ACTIVITIES, self.points.max(axis=0), strict=True):
            if wanted > 0 and not (activity_N == name).any():
                raise ValueError(f"no clip of {len(samples)} shows {name}; give it a share of 0 or add such clips")
        return Draws(self, activity_N, weight_N)


class Draws:
    """A mixture over given samples: places in [0, 1) -> rows, so that evenly spread places give every sample its due.

    Args:
        mixture: the shares.
        activity_N: activity of each sample.
        weight_N: weight of each sample among those of its activity.
    """

    def __init__(self, mixture: Mixture, activity_N: np.ndarray, weight_N: np.ndarray) -> None:
        self.mixture, self.activity_N = mixture, activity_N
        self.rows = [np.flatnonzero(activity_N == name) for name in ACTIVITIES]
        self.parts = [weight_N[rows] / weight_N[rows].sum() for rows in self.rows]
        self.ends = [part.cumsum() for part in self.parts]

    def chances(self, step: int) -> np.ndarray:
        """Return the probability of each sample at batch number ``step``, (N,), which sum to one."""
        chance_N = np.zeros(len(self.activity_N))
        for share, rows, part in zip(self.mixture.shares(step), self.rows, self.parts, strict=True):
            chance_N[rows] = share * part
        return chance_N

    def row(self, step: int, place: float) -> int:
        """Return the sample at ``place`` when all of them lie side by side in [0, 1), each as wide as its chance."""
        shares = self.mixture.shares(step)
        ends = shares.cumsum()
        chosen = min(int(np.searchsorted(ends, place, side="right")), int(np.flatnonzero(shares)[-1]))
        inside = (place - ends[chosen] + shares[chosen]) / shares[chosen]
        rows = self.rows[chosen]
        return int(rows[min(int(np.searchsorted(self.ends[chosen], inside, side="right")), len(rows) - 1)])
