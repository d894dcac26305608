"""Does a long video wander off? The slope of any score over time, with an interval that knows how scores hang together.

Scores of neighbouring moments are alike, so blocks of 10 s are resampled, not moments; scores of one character are
alike, so whole characters are resampled, too (bench.md, IDS).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from lpm.metric.clips import add_lists, identity_code
from lpm.metric.signals import Signal, frame_rate, track
from lpm.metric.statistics import Estimate, resample_counts, theil_sen, theil_sen_resampled

BLOCK = 10.0


def window_medians(values_T: Signal, fps: float, window: float = 1.0) -> Tensor:
    """Return the median of a per-frame score in each whole window of ``window`` seconds, (W,).

    >>> window_medians(torch.arange(10.0), fps=2.0, window=2.0).tolist()
    [1.5, 5.5]
    """
    values, frames = track(values_T, "score"), round(window * frame_rate(fps))
    if not 1 <= frames <= len(values):
        raise ValueError(f"{len(values)} frames at {fps:g} a second hold no window of {window:g} s; shorten the window")
    return values[: len(values) // frames * frames].unflatten(0, (-1, frames)).quantile(0.5, dim=1)


def window_times(count: int, window: float = 1.0) -> Tensor:
    """Return the middle of each window in minutes, (W,) float64."""
    return (torch.arange(count).double() + 0.5) * window / 60


def drift(values_W: Signal, window: float = 1.0) -> Tensor:
    """Return the Theil-Sen slope per minute of one score per window of ``window`` seconds; 0 is steady.

    A window without a score is NaN and takes no part.

    >>> float(drift(torch.tensor([1.0, 2.0, 3.0]), window=30.0))
    2.0
    """
    values = scores(values_W)
    return theil_sen(values, window_times(len(values), window))


def scores(values_W: Signal) -> Tensor:
    """Return a score per window, (W,) float64, where NaN stands for none; raise ValueError for anything else."""
    values = torch.as_tensor(values_W).detach().cpu().double()
    track(values.nan_to_num(nan=0.0, posinf=math.inf, neginf=-math.inf), "score per window")
    return values


class Drift(Metric):
    """Mean over videos of ``drift``, with a 95 % interval over identities and blocks of time.

    Each resample draws identities, and of each of their videos as many blocks of ``block`` seconds as it has, at their
    own times. With one identity the interval is about time alone; with one block of it, too, there is none (NaN).

    Args:
        window: seconds that one value stands for.
        block: seconds that are resampled together, several windows.
        resamples: of the bootstrap.
        seed: of the bootstrap.

    >>> metric = Drift(window=5.0)
    >>> metric.update(torch.arange(12.0), identity="S1")
    >>> [round(float(x), 6) for x in metric.compute()[:3]]
    [12.0, 12.0, 12.0]
    """

    higher_is_better = None
    full_state_update = False

    def __init__(self, window: float = 1.0, block: float = BLOCK, resamples: int = 2000, seed: int = 0) -> None:
        super().__init__()
        if not 0 < window <= block:
            raise ValueError(f"windows of {window} s do not fit into blocks of {block} s; use a shorter window")
        self.window, self.block, self.resamples, self.seed = window, block, resamples, seed
        add_lists(self, "values", "lengths", "clusters")

    def update(self, values_W: Signal, identity: str | int = 0) -> None:
        """Add one video: a score of each window, in order, NaN where a window has none."""
        values = scores(values_W)
        if (known := int((~values.isnan()).sum())) < 2:
            raise ValueError(f"a slope needs two windows or more with a score, not {known}; give a longer video")
        self.values.append(values.to(self.device))  # type: ignore[operator,union-attr]
        self.lengths.append(torch.tensor([len(values)], device=self.device))  # type: ignore[operator,union-attr]
        self.clusters.append(torch.tensor([identity_code(identity)], device=self.device))  # type: ignore[operator,union-attr]

    def compute(self) -> Estimate:
        """Return the mean slope per minute; ``n`` counts videos."""
        if not len(self.values):  # type: ignore[arg-type]
            raise ValueError("Drift has seen no video; call update first")
        values, lengths, clusters = (dim_zero_cat(x).cpu() for x in (self.values, self.lengths, self.clusters))  # type: ignore[arg-type]
        videos = values.split(lengths.tolist())
        slopes_V = torch.stack([drift(video, self.window) for video in videos])
        drawn_RV = torch.stack([self._resampled(video, number) for number, video in enumerate(videos)], dim=1)
        means_R = _cluster_means(drawn_RV, clusters, self.seed)
        low, high = means_R.nanquantile(0.025), means_R.nanquantile(0.975)
        if len(clusters.unique()) == 1 and max(map(self._blocks, videos)) < 2:
            low = high = torch.tensor(float("nan"), dtype=torch.float64)
        return Estimate(slopes_V.mean(), low, high, torch.tensor(len(videos)), torch.tensor(0))

    def _resampled(self, video_W: Tensor, number: int) -> Tensor:
        """Return the slope of every resample of a video's blocks, (resamples,)."""
        counts_RK = resample_counts(self._blocks(video_W), self.resamples, seed=self.seed + 1 + number)
        counts_RW = counts_RK[:, self._block_of(len(video_W))]
        return theil_sen_resampled(video_W, window_times(len(video_W), self.window), counts_RW)

    def _blocks(self, video_W: Tensor) -> int:
        return int(self._block_of(len(video_W))[-1]) + 1

    def _block_of(self, windows: int) -> Tensor:
        return (torch.arange(windows) * self.window / self.block + 1e-9).long()


def _cluster_means(drawn_RV: Tensor, clusters_V: Tensor, seed: int) -> Tensor:
    """Return the mean over videos of each resample of whole identities, (resamples,).

    An identity that is drawn twice comes with two resamples of its time.
    """
    names, index_V = clusters_V.unique(return_inverse=True)
    resamples, count = len(drawn_RV), len(names)
    total_RC = torch.zeros(resamples, count, dtype=torch.float64).index_add_(1, index_V, drawn_RV)
    videos_C = index_V.bincount(minlength=count).double()
    generator = torch.Generator().manual_seed(seed)
    picked = torch.randint(count, (resamples, count), generator=generator)
    rows = torch.randint(resamples, (resamples, count), generator=generator)
    return total_RC[rows, picked].sum(1) / videos_C[picked].sum(1)
