"""One generated clip with what it was made from, and what may judge it."""

import inspect
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
from torch import Tensor


@dataclass
class Candidate:
    """One generated clip and its conditions.

    Attributes:
        video_THWC: uint8 RGB frames.
        fps: frames a second.
        state_T: index into ``lpm.types.STATES`` of each frame, -1 unknown.
        speak_S, listen_S: 16 kHz audio from ``history`` seconds before frame 0.
        history: seconds of audio before frame 0.
        text: prompt.
        reference_HWC: the character's global reference, uint8, or None.
        truth: what really happened, by control name (T,); empty on real data.
        meta: the condition's ``json``.
    """

    video_THWC: np.ndarray
    fps: float
    state_T: Tensor
    speak_S: Tensor
    listen_S: Tensor
    history: float = 0.0
    text: str = ""
    reference_HWC: np.ndarray | None = None
    truth: dict[str, Tensor] = field(default_factory=dict)
    meta: dict[str, Any] = field(default_factory=dict)


@runtime_checkable
class Scorer(Protocol):
    """Judges one clip in one or more dimensions; higher is better in all of them.

    ``tolerances`` names every dimension it may return and the difference, above 0, up to which two scores count as
    equal: the scorer's own error, or what nobody sees.
    """

    tolerances: dict[str, float]

    def judge(self, candidate: Candidate) -> dict[str, float]:
        """Return a score by dimension; NaN where the clip cannot be judged, no entry where its conditions have nothing
        to judge.
        """
        ...


def described(scorer: Scorer) -> list[Any]:
    """Return what tells a scorer from others: its class, its tolerances, and the arguments of its constructor that it
    keeps under their names and that are plain data.
    """
    kind = type(scorer)
    own = {name: getattr(scorer, name, None) for name in inspect.signature(kind).parameters}
    plain = {name: value for name, value in own.items() if _is_plain(value)}
    return [f"{kind.__module__}.{kind.__name__}", {**plain, "tolerances": scorer.tolerances}]


def _is_plain(value: Any) -> bool:
    try:
        json.dumps(value)
    except (TypeError, ValueError):
        return False
    return True


def score(scorers: Sequence[Scorer], candidate: Candidate) -> dict[str, float]:
    """Return the scores of all scorers.

    Raises:
        ValueError: a dimension has no tolerance, or two scorers return the same one.
    """
    scores: dict[str, float] = {}
    for scorer in scorers:
        mine = {name: float(value) for name, value in scorer.judge(candidate).items()}
        for name in mine.keys() - scorer.tolerances.keys():
            raise ValueError(f"{type(scorer).__name__} has no tolerance for its score {name!r}; add one above 0")
        for name in mine.keys() & scores.keys():
            raise ValueError(f"two scorers return {name!r}; rename one of the scores or leave one scorer out")
        scores |= mine
    return scores
