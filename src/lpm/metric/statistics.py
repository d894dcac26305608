"""Estimates with confidence: bootstrap over identities and robust slopes (bench.md, "CI")."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

MIN_CLUSTERS = 10
MAX_POINTS = 5000


class Estimate(NamedTuple):
    """A score of a set of clips.

    Attributes:
        value: weighted mean over the clips that have the score, NaN when there are none.
        low, high: percentile bootstrap interval of the value; NaN where there is one clip alone.
        n: clips that have the score.
        skipped: clips on which it is undefined (for example no speaking frames).
    """

    value: Tensor
    low: Tensor
    high: Tensor
    n: Tensor
    skipped: Tensor


def estimate(
    scores_N: Tensor,
    clusters_N: Tensor,
    weights_N: Tensor | None = None,
    resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> Estimate:
    """Average clip scores with a percentile bootstrap interval.

    Whole identities are resampled when there are at least ten of them, single clips otherwise. NaN scores are left
    out of the value and counted as skipped.

    Args:
        scores_N: one score per clip.
        clusters_N: integer code of each clip's identity.
        weights_N: weight per clip (frames, for a share of frames); equal when None.

    >>> result = estimate(torch.tensor([0.0, 1.0]), torch.tensor([0, 1]))
    >>> float(result.value), int(result.n)
    (0.5, 2)
    """
    weights_N = torch.ones_like(scores_N) if weights_N is None else weights_N
    if not scores_N.shape == clusters_N.shape == weights_N.shape or scores_N.ndim != 1:
        raise ValueError(
            f"scores {tuple(scores_N.shape)}, clusters {tuple(clusters_N.shape)} and weights {tuple(weights_N.shape)} "
            "must be one row of equal length; give one of each per clip"
        )
    defined = scores_N.isfinite() & (weights_N > 0)
    scores, weights, clusters = scores_N[defined].double(), weights_N[defined].double(), clusters_N[defined]
    n, skipped = defined.sum(), (~defined).sum()
    if n == 0:
        return undefined(skipped)
    means = bootstrap_means(scores, weights, resampling_units(clusters), resamples, seed)
    low, high = means.quantile((1 - level) / 2), means.quantile((1 + level) / 2)
    return Estimate((weights * scores).sum() / weights.sum(), low, high, n, skipped)


def ratio(
    above_N: Tensor,
    below_N: Tensor,
    clusters_N: Tensor,
    weights_N: Tensor | None = None,
    resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> Estimate:
    """Return mean ``above`` over mean ``below`` of the same clips, with a percentile bootstrap interval.

    Both means of a resample are over the same identities, so what makes a clip hard or easy for both cancels. Clips
    that lack one of the scores count in neither. Arguments otherwise as in ``estimate``.

    >>> float(ratio(torch.tensor([1.0, 2.0]), torch.tensor([2.0, 4.0]), torch.tensor([0, 1])).value)
    0.5
    """
    weights_N = torch.ones_like(below_N) if weights_N is None else weights_N
    if not above_N.shape == below_N.shape == clusters_N.shape == weights_N.shape or above_N.ndim != 1:
        raise ValueError(
            f"scores {tuple(above_N.shape)} over {tuple(below_N.shape)} with clusters {tuple(clusters_N.shape)} must "
            "be rows of equal length; give one of each per clip"
        )
    both = above_N.isfinite() & below_N.isfinite() & (weights_N > 0)
    n, skipped = both.sum(), (~both).sum()
    if n == 0:
        return undefined(skipped)
    weights, units = weights_N[both].double(), resampling_units(clusters_N[both])
    over, under = (bootstrap_means(x[both].double(), weights, units, resamples, seed) for x in (above_N, below_N))
    low, high = ((over / under).quantile(q) for q in ((1 - level) / 2, (1 + level) / 2))
    value = (weights * above_N[both]).sum() / (weights * below_N[both]).sum()
    return Estimate(value, low, high, n, skipped)


def undefined(skipped: Tensor) -> Estimate:
    """Return the estimate of a score that no clip has."""
    nan = torch.tensor(float("nan"), dtype=torch.float64)
    return Estimate(nan, nan, nan, torch.zeros_like(skipped), skipped)


def resampling_units(clusters_N: Tensor) -> Tensor:
    """Return the unit index of each clip: its identity if there are at least ten identities, else the clip itself."""
    units, index_N = clusters_N.unique(return_inverse=True)
    return index_N if len(units) >= MIN_CLUSTERS else torch.arange(len(clusters_N), device=clusters_N.device)


def resample_counts(units: int, resamples: int, seed: int) -> Tensor:
    """Return how often each unit is drawn in each bootstrap resample, (resamples, units) float64 on the CPU."""
    generator = torch.Generator().manual_seed(seed)
    draws = torch.randint(units, (resamples, units), generator=generator)
    return torch.zeros(resamples, units, dtype=torch.float64).scatter_add_(1, draws, torch.ones(draws.shape).double())


def bootstrap_means(scores_N: Tensor, weights_N: Tensor, units_N: Tensor, resamples: int, seed: int) -> Tensor:
    """Return the weighted mean of every resample of units, (resamples,) float64; NaN for one unit, of whose chance
    nothing is known.
    """
    units = int(units_N.max()) + 1
    if units == 1:
        return scores_N.new_full((resamples,), float("nan"))
    total = torch.zeros(units, dtype=torch.float64, device=scores_N.device).index_add_(0, units_N, weights_N * scores_N)
    weight = torch.zeros_like(total).index_add_(0, units_N, weights_N)
    counts = resample_counts(units, resamples, seed).to(scores_N.device)
    return (counts @ total) / (counts @ weight)


def theil_sen(values_T: Tensor, times_T: Tensor) -> Tensor:
    """Return the median slope over all pairs of points, in units of values per unit of time (Sen 1968).

    Values that are NaN take no part; fewer than two others have no slope (NaN).

    >>> float(theil_sen(torch.tensor([0.0, 2.0, 4.0, 6.0, 90.0]), torch.arange(5.0)))  # one outlier in five
    2.0
    """
    if values_T.shape != times_T.shape or values_T.ndim != 1 or len(values_T) < 2:
        raise ValueError(
            f"a slope needs two or more values with one time each, not {tuple(values_T.shape)} values "
            f"and {tuple(times_T.shape)} times"
        )
    slopes, _, _ = _pair_slopes(values_T, times_T)
    return slopes.quantile(0.5) if len(slopes) else slopes.new_tensor(float("nan"))


def theil_sen_resampled(values_T: Tensor, times_T: Tensor, counts_RT: Tensor, at_once: int = 64) -> Tensor:
    """Return the Theil-Sen slope of every resample, (R,) float64, where point i of resample r occurs ``counts[r, i]``
    times.

    Pairs of copies of one point have no slope and do not count; NaN for a resample of one point alone.
    """
    slopes, first, second = _pair_slopes(values_T, times_T)
    order = slopes.argsort()
    slopes, first, second = slopes[order], first[order], second[order]
    medians = [_weighted_median(slopes, some[:, first] * some[:, second]) for some in counts_RT.double().split(at_once)]
    return torch.cat(medians)


def _pair_slopes(values_T: Tensor, times_T: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the slope of every pair of points, (P,) float64, and the indices of both; NaN values make no pair."""
    if len(values_T) > MAX_POINTS:
        raise ValueError(f"{len(values_T)} points make too many pairs; average them down to {MAX_POINTS} or fewer")
    first, second = torch.triu_indices(len(values_T), len(values_T), offset=1, device=values_T.device)
    run = (times_T[second] - times_T[first]).double()
    if not (run != 0).all():
        raise ValueError("two values share one time; give each its own time")
    slopes = (values_T[second] - values_T[first]).double() / run
    known = ~slopes.isnan()
    return slopes[known], first[known], second[known]


def _weighted_median(ascending_P: Tensor, weights_RP: Tensor) -> Tensor:
    """Return the median of values that occur ``weights`` times each, the mean of both middle ones if they are even."""
    reached_RP = weights_RP.cumsum(1)
    total_R1 = reached_RP[:, -1:]
    lower, upper = (
        ascending_P[torch.searchsorted(reached_RP, rank).clamp(max=len(ascending_P) - 1)[:, 0]]
        for rank in (((total_R1 + 1) / 2).floor(), (total_R1 / 2).floor() + 1)
    )
    return torch.where(total_R1[:, 0] > 0, (lower + upper) / 2, float("nan"))
