"""Which listening clips are worth more: rare ones, and those whose face and mood change.

Most listeners are neutral and hardly move, so plain sampling teaches to sit still (LPM 1.0, listener rebalancing).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from lpm.data.mixture import activity
from lpm.data.schema import STATES, Sample, states_to_frames
from lpm.data.stages import decode

EXPRESSION = ("smile", "brow", "frown", "sneer", "smirk")  # tracks in [-1, 1]
HEAD = ("yaw", "pitch", "roll")  # tracks in degrees
SWING = 0.25  # change of an expression that is seen
CONTRAST = 0.5  # change between two moods
OSCILLATION = 2  # swings that come and go
SPEEDS = {"still": 3.0, "low": 9.0}  # degrees a second below which a head counts so; others are high


class Traits(NamedTuple):
    """What a listener shows: classes, whose rare ones count more, and two signs of a lively clip.

    Attributes:
        emotion: from the tags, "unknown" without.
        expression: the track of ``EXPRESSION`` that moves most, "plain" if none moves visibly.
        motion: "still", "low" or "high", by the speed of the head.
        contrast: whether the mood changes.
        oscillation: whether an expression comes and goes.
    """

    emotion: str
    expression: str
    motion: str
    contrast: bool
    oscillation: bool


def listener_traits(sample: Sample) -> Traits:
    """Return a clip's traits over its listening frames, from its tags and from the tracks of ``truth.npz``."""
    meta = sample["json"]
    emotion = str(meta.get("tags", {}).get("emotion", "unknown"))
    tracks = listening_tracks(sample)
    ranges = {name: float(np.ptp(tracks[name])) for name in EXPRESSION if name in tracks}
    widest = max(ranges, key=lambda name: ranges[name], default="unknown")
    expression = widest if ranges.get(widest, SWING) >= SWING else "plain"
    return Traits(
        emotion,
        expression,
        motion_class(tracks, meta["fps"]),
        contrast=ranges.get("smile", 0.0) >= CONTRAST,
        oscillation=any(swings(tracks[name], SWING) >= OSCILLATION for name in ranges),
    )


def listening_tracks(sample: Sample) -> dict[str, np.ndarray]:
    """Return the tracks of ``truth.npz`` over listening frames, each (T,); none where there is no truth."""
    if "truth.npz" not in sample:
        return {}
    truth, meta = decode(sample, "truth.npz"), sample["json"]
    listening = states_to_frames(meta["states"], meta["frames"]) == STATES.index("listening")
    if not listening.any():
        return {}
    return {str(name): truth["controls"][listening, column] for column, name in enumerate(truth["names"])}


def motion_class(tracks: dict[str, np.ndarray], fps: float) -> str:
    """Return "still", "low" or "high" by the mean speed of the head in degrees a second, "unknown" without tracks."""
    head = [tracks[name] for name in HEAD if name in tracks]
    if not head or len(head[0]) < 2:
        return "unknown"
    speed = float(np.abs(np.diff(np.stack(head), axis=1)).sum(axis=0).mean()) * fps
    return next((name for name, limit in SPEEDS.items() if speed < limit), "high")


def swings(track_T: np.ndarray, size: float) -> int:
    """Count the moves of at least ``size`` that alternate up and down.

    >>> swings(np.array([0.0, 0.4, 0.1, 0.15, 0.5]), size=0.2)
    3
    """
    count, low, high = 0, float(track_T[0]), float(track_T[0])
    direction = 0
    for value in map(float, track_T):
        low, high = min(low, value), max(high, value)
        if direction <= 0 and value - low >= size:
            count, direction, high = count + 1, 1, value
        elif direction >= 0 and high - value >= size:
            count, direction, low = count + 1, -1, value
    return count


def class_weights(labels: Sequence[str], power: float = 0.5) -> np.ndarray:
    """Return weights (N,) with a mean of one that make rare labels more frequent.

    ``power`` 0 leaves the frequencies as they are, 1 makes all labels equally frequent.

    >>> class_weights(["neutral"] * 3 + ["happy"], power=1.0).round(3).tolist()
    [0.667, 0.667, 0.667, 2.0]
    """
    counts = Counter(labels)
    raw = np.array([counts[label] ** -power for label in labels])
    return raw / raw.mean() if len(raw) else raw


@dataclass(frozen=True)
class ListenerEmphasis:
    """Weights of listening clips: common classes of emotion, expression and motion down, rare ones up, lively ones up.

    Clips of other activities weigh one.

    Attributes:
        power: how far classes are evened out, 0 to 1; see ``class_weights``.
        lively: factor for each of emotion contrast and expression oscillation.
        least, most: limits of a weight, relative to the mean listening clip.
    """

    power: float = 0.5
    lively: float = 1.5
    least: float = 0.25
    most: float = 4.0

    def __post_init__(self) -> None:
        if not 0 <= self.power <= 1:
            raise ValueError(f"power of {self.power} is outside 0 to 1; 0.5 is half way to equal classes")
        if not 0 < self.least <= 1 <= self.most:
            raise ValueError(f"limits {self.least} to {self.most} of a weight must hold 1, above 0; choose 0.25 to 4")
        if not self.lively > 0:
            raise ValueError(f"lively of {self.lively} is not above 0; 1 makes no difference, 1.5 prefers lively clips")

    def weights(self, samples: Sequence[Sample]) -> np.ndarray:
        """Return one weight per sample, (N,)."""
        weight_N = np.ones(len(samples))
        rows = [row for row, sample in enumerate(samples) if activity(sample) == "listening"]
        weight_N[rows] = self.of_traits([listener_traits(samples[row]) for row in rows])
        return weight_N

    def of_traits(self, traits: Sequence[Traits]) -> np.ndarray:
        """Return the weights of listening clips with these traits."""
        weight_N = np.array([self.lively ** (one.contrast + one.oscillation) for one in traits])
        for column in ("emotion", "expression", "motion"):
            weight_N = weight_N * class_weights([getattr(one, column) for one in traits], self.power)
        return np.clip(weight_N / weight_N.mean(), self.least, self.most) if len(traits) else weight_N
