import numpy as np
import pytest
import torch
from scipy import stats

from lpm.metric import Drift, drift, theil_sen_resampled, window_medians, window_times
from lpm.metric.statistics import resample_counts


def wander(seed, windows=60, slope=0.0, memory=0.8):
    """A score that wanders (an autoregression of order 1) around a line of ``slope`` per minute, 5 s a window."""
    noise = np.random.default_rng(seed).normal(size=windows)
    for i in range(1, windows):
        noise[i] += memory * noise[i - 1]
    return torch.tensor(noise + slope * np.arange(windows) * 5 / 60)


def test_slope_equals_scipy():
    values = wander(0, slope=2.0)
    minutes = (np.arange(60) + 0.5) * 5 / 60
    np.testing.assert_allclose(window_times(60, 5.0), minutes)
    assert drift(values, window=5.0) == pytest.approx(stats.theilslopes(values, minutes).slope, abs=1e-12)


@pytest.mark.parametrize("points", [7, 8])
def test_resampled_slopes_equal_scipy_on_points_repeated_one_by_one(points):
    values, times = np.random.default_rng(1).normal(size=(2, points))
    counts = resample_counts(points, 40, seed=0)
    ours = theil_sen_resampled(torch.tensor(values), torch.tensor(times), counts, at_once=7)
    for slope, row in zip(ours, counts, strict=True):
        rows = np.repeat(np.arange(points), row.int())
        assert slope == pytest.approx(stats.theilslopes(values[rows], times[rows]).slope, abs=1e-12)


def test_one_point_alone_has_no_slope():
    counts = torch.tensor([[3.0, 0.0], [2.0, 1.0]])
    slopes = theil_sen_resampled(torch.tensor([0.0, 2.0]), torch.tensor([0.0, 1.0]), counts)
    assert slopes[0].isnan() and slopes[1] == 2


def test_interval_equals_a_bootstrap_written_for_reading():
    """Identities are drawn, and blocks of 2 windows within each; every draw is refitted by scipy."""
    videos = [wander(seed, windows=10, slope=seed) for seed in range(4)]
    metric = Drift(window=5.0)
    for number, video in enumerate(videos):
        metric.update(video, identity=number)
    ours = metric.compute()
    rng, minutes, means = np.random.default_rng(7), (np.arange(10) + 0.5) * 5 / 60, []
    for _ in range(800):
        drawn = []
        for video in rng.integers(4, size=4):
            rows = np.concatenate([[2 * block, 2 * block + 1] for block in rng.integers(5, size=5)])
            drawn.append(stats.theilslopes(videos[video].numpy()[rows], minutes[rows]).slope)
        means.append(np.mean(drawn))
    low, high = np.quantile(means, [0.025, 0.975])
    assert ours.value == pytest.approx(np.mean([drift(video, 5.0) for video in videos]))
    assert (ours.high - ours.low) == pytest.approx(high - low, rel=0.12)
    assert ours.low == pytest.approx(low, abs=0.1 * (high - low))
    assert int(ours.n) == 4


def test_a_score_that_wanders_without_drift_is_seldom_called_a_drift():
    """Where neighbours are alike, points resampled one by one (blocks of one window) promise far too much."""
    missed = {5.0: 0, 30.0: 0}
    for seed in range(40):
        for block in missed:
            metric = Drift(window=5.0, block=block, resamples=100)
            metric.update(wander(seed, windows=72))
            found = metric.compute()
            missed[block] += not found.low <= 0 <= found.high
    assert missed[30.0] <= 10 < 16 <= missed[5.0]


def test_videos_of_one_character_say_little_more_than_one_of_them():
    def width(identities):
        metric = Drift(window=5.0)
        for number in range(24):
            metric.update(torch.arange(4.0) * (number % 12), identity=number % identities)
        found = metric.compute()
        return found.high - found.low

    assert width(12) / width(24) == pytest.approx(2**0.5, rel=0.1)


def test_one_block_gives_a_value_without_an_interval():
    metric = Drift(window=1.0)
    metric.update(torch.arange(10.0))
    found = metric.compute()
    assert found.value == pytest.approx(60.0) and found.low.isnan() and found.high.isnan()


def test_windows_are_whole_and_robust():
    values = torch.tensor([1.0, 1.0, 99.0, 2.0, 2.0, 2.0, 7.0])
    assert window_medians(values, fps=3.0, window=1.0).tolist() == [1.0, 2.0]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: window_medians(torch.zeros(5), 24.0, 1.0), "hold no window of 1 s"),
        (lambda: Drift(window=20.0), "do not fit into blocks of 10"),
        (lambda: Drift().update(torch.zeros(1)), "two windows or more"),
        (lambda: Drift().compute(), "has seen no video"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
