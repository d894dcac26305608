"""The pair of candidates that is worth learning from."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

Scores = Mapping[str, float]
REASONS = ("pair", "tie", "trade_off", "unscored")


class Selection(NamedTuple):
    """Which candidates make a pair; ``winner`` and ``loser`` are None where no two qualify.

    ``reason`` is ``pair``, or why there is none: ``tie``, no two candidates differ beyond the tolerances;
    ``trade_off``, whichever is better in one dimension is worse, or not judged, in another; ``unscored``, no dimension
    was judged in two candidates.
    """

    winner: int | None
    loser: int | None
    margin: float
    reason: str


def advantage(first: Scores, second: Scores, tolerances: Scores) -> float:
    """Return by how much ``first`` is preferred to ``second``: 0 if it is not, else above 1.

    It is preferred if it is better by more than the tolerance in one dimension and worse by more than the tolerance in
    none (LPM 1.0, preference pairs). The margin is the sum over the dimensions in which it is better of difference over
    tolerance. A dimension without a number (NaN, infinite) in both says nothing; in one of them, it forbids preference.

    >>> advantage({"sync": 0.8, "identity": -0.30}, {"sync": 0.7, "identity": -0.29}, {"sync": 0.05, "identity": 0.02})
    2.0
    """
    margin = 0.0
    for name, difference in _differences(first, second).items():
        steps = difference / tolerances[name]
        if not steps >= -1:  # worse, or known of one alone
            return 0.0
        if steps > 1:
            margin += steps
    return round(margin, 9)


def select(scores: Sequence[Scores], tolerances: Scores) -> Selection:
    """Return the pair with the largest ``advantage``; the first in order of (winner, loser) among equals.

    Raises:
        ValueError: candidates scored in different dimensions, or a tolerance that is missing or not above 0.
    """
    _check(scores, tolerances)
    number = range(len(scores))
    pairs = [(a, b) for a in number for b in number if a != b]
    margins = {(a, b): advantage(scores[a], scores[b], tolerances) for a, b in pairs}
    best = max(margins, key=lambda pair: (margins[pair], -pair[0], -pair[1]), default=None)
    if best is not None and margins[best] > 0:
        return Selection(*best, margins[best], "pair")
    steps = [d / tolerances[name] for a, b in pairs for name, d in _differences(scores[a], scores[b]).items()]
    if all(math.isnan(step) for step in steps):
        return Selection(None, None, 0.0, "unscored")
    equal = all(abs(step) <= 1 for step in steps)
    return Selection(None, None, 0.0, "tie" if equal else "trade_off")


def _differences(first: Scores, second: Scores) -> dict[str, float]:
    """Return first - second by dimension, NaN where one of them has no number, without those where both have none."""
    rows = {}
    for name in first:
        known = math.isfinite(first[name]), math.isfinite(second[name])
        if any(known):
            rows[name] = first[name] - second[name] if all(known) else math.nan
    return rows


def _check(scores: Sequence[Scores], tolerances: Scores) -> None:
    for row in scores:
        if row.keys() != scores[0].keys():
            raise ValueError(
                f"candidates of one condition are scored in {sorted(scores[0])} and in {sorted(row)}; "
                "return the same dimensions for all, NaN where one cannot be judged"
            )
        for name in row:
            if not tolerances.get(name, 0.0) > 0:
                raise ValueError(f"tolerance of {name!r} is {tolerances.get(name)}; give a number above 0")
