import numpy as np
import pytest
import torch
from scipy import stats

from lpm.metric import Estimate, estimate, ratio, theil_sen, theil_sen_resampled
from lpm.metric.clips import identity_code
from lpm.metric.statistics import resampling_units


def test_values_that_are_not_known_take_no_part_in_a_slope():
    values, times = torch.tensor([0.0, float("nan"), 4.0, 7.0]), torch.tensor([0.0, 1.0, 2.0, 3.0])
    known = torch.tensor([0, 2, 3])
    assert theil_sen(values, times) == theil_sen(values[known], times[known])
    counts = torch.tensor([[1, 2, 1, 0], [2, 0, 1, 1]])
    assert torch.equal(
        theil_sen_resampled(values, times, counts), theil_sen_resampled(values[known], times[known], counts[:, known])
    )
    assert theil_sen(values[:2], times[:2]).isnan()


def test_theil_sen_equals_scipy():
    rng = np.random.default_rng(0)
    times = np.sort(rng.uniform(0, 9, 40))
    values = 0.3 * times + rng.normal(size=40)
    ours = theil_sen(torch.tensor(values), torch.tensor(times))
    assert ours == pytest.approx(stats.theilslopes(values, times).slope, abs=1e-12)


def test_interval_equals_scipy_bootstrap():
    scores = torch.tensor(np.random.default_rng(1).normal(2.0, 1.0, 60))
    ours = estimate(scores, torch.zeros(60, dtype=torch.long), resamples=5000)
    theirs = stats.bootstrap((scores.numpy(),), np.mean, n_resamples=5000, method="percentile", rng=3)
    assert ours.value == pytest.approx(scores.mean())
    assert ours.low == pytest.approx(theirs.confidence_interval.low, abs=0.02)
    assert ours.high == pytest.approx(theirs.confidence_interval.high, abs=0.02)


def test_identities_are_resampled_whole():
    """Clips of one identity that agree say little more than one clip: the interval must widen."""
    per_identity = torch.tensor(np.random.default_rng(2).normal(size=12))
    scores, identity = per_identity.repeat_interleave(20), torch.arange(12).repeat_interleave(20)
    clustered = estimate(scores, identity)
    naive = estimate(scores, torch.zeros(240, dtype=torch.long))
    assert clustered.high - clustered.low > 3 * (naive.high - naive.low)
    assert len(resampling_units(identity).unique()) == 12
    assert len(resampling_units(identity % 9).unique()) == 240


def test_a_ratio_is_of_means_and_its_interval_that_of_scipy():
    rng = np.random.default_rng(6)
    below = rng.uniform(0.5, 1.5, 40)
    above = 0.8 * below + 0.1 * rng.normal(size=40)
    ours = ratio(torch.tensor(above), torch.tensor(below), torch.arange(40), resamples=5000)
    theirs = stats.bootstrap(
        (above, below), lambda a, b, axis: a.mean(axis) / b.mean(axis), paired=True, vectorized=True, n_resamples=5000,
        method="percentile", rng=3,
    )  # fmt: skip
    assert ours.value == pytest.approx(above.mean() / below.mean())
    assert ours.low == pytest.approx(theirs.confidence_interval.low, abs=0.004)
    assert ours.high == pytest.approx(theirs.confidence_interval.high, abs=0.004)


def test_a_ratio_is_paired_and_weighted():
    nan, scores = float("nan"), torch.tensor([1.0, 5.0, 2.0, 8.0])
    same = ratio(scores, scores, torch.arange(4))
    assert (float(same.value), float(same.low), float(same.high)) == (1, 1, 1)
    some = ratio(torch.tensor([1.0, nan, 2.0, 4.0]), torch.tensor([2.0, 1.0, nan, 4.0]), torch.arange(4))
    assert (float(some.value), int(some.n), int(some.skipped)) == (5 / 6, 2, 2)
    heavy = ratio(torch.tensor([1.0, 4.0]), torch.tensor([2.0, 4.0]), torch.arange(2), torch.tensor([3.0, 1.0]))
    assert float(heavy.value) == 7 / 10
    assert ratio(torch.tensor([nan]), torch.tensor([1.0]), torch.arange(1)).value.isnan()
    with pytest.raises(ValueError, match="one of each per clip"):
        ratio(torch.zeros(3), torch.zeros(2), torch.arange(3))


def test_undefined_clips_are_counted_not_averaged():
    result = estimate(torch.tensor([1.0, float("nan"), 3.0]), torch.arange(3), torch.tensor([1.0, 1.0, 3.0]))
    assert isinstance(result, Estimate)
    assert (float(result.value), int(result.n), int(result.skipped)) == (2.5, 2, 1)
    empty = estimate(torch.tensor([float("nan")]), torch.zeros(1, dtype=torch.long))
    assert empty.value.isnan() and int(empty.skipped) == 1


def test_one_clip_has_no_interval():
    """Nothing is known of how other clips would do: [value, value] would claim that all is."""
    alone = estimate(torch.tensor([0.5, float("nan")]), torch.arange(2))
    assert (float(alone.value), int(alone.n)) == (0.5, 1)
    assert alone.low.isnan() and alone.high.isnan()
    compared = ratio(torch.tensor([1.0]), torch.tensor([2.0]), torch.arange(1))
    assert float(compared.value) == 0.5 and compared.low.isnan() and compared.high.isnan()
    assert not estimate(torch.tensor([0.5, 0.7]), torch.zeros(2, dtype=torch.long)).low.isnan()


def test_same_seed_same_interval():
    scores, identity = torch.rand(30, generator=torch.Generator().manual_seed(4)), torch.arange(30)
    assert estimate(scores, identity, seed=5) == estimate(scores, identity, seed=5)
    assert estimate(scores, identity, seed=5).low != estimate(scores, identity, seed=6).low


def test_identity_codes_are_stable_and_distinct():
    assert identity_code("S1") == identity_code("S1") != identity_code("S2")
    assert torch.tensor([identity_code("S1")]).dtype == torch.int64


@pytest.mark.parametrize(
    ("values", "times", "message"),
    [([1.0], [0.0], "two or more"), ([1.0, 2.0], [0.0, 0.0], "share one time"), ([0.0] * 5001, [0.0] * 5001, "pairs")],
)
def test_bad_slopes_are_refused(values, times, message):
    with pytest.raises(ValueError, match=message):
        theil_sen(torch.tensor(values), torch.tensor(times))


def test_unequal_rows_are_refused():
    with pytest.raises(ValueError, match="one of each per clip"):
        estimate(torch.zeros(3), torch.zeros(2, dtype=torch.long))
