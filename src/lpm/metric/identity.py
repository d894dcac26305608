"""Is it still the same character? Distance to the reference images' identity, never to the output's own first frame."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric

from lpm.metric.clips import add_clip, add_clip_states, estimate_clips
from lpm.metric.signals import Signal, frame_rate, mask, track, tracks
from lpm.metric.statistics import Estimate, theil_sen

UNREAD_DISTANCE = 10.0


def identity_distances(
    identity_TN: Signal, reference_N: Signal, spread_N: Signal | None = None, valid_T: Signal | None = None
) -> Tensor:
    """Return the distance of every frame to the reference in units of the spread within one identity, (T,).

    It is the root mean square over the N parameters of (identity - reference) / spread. Unread frames count as a
    distance of 10 spreads.

    Args:
        identity_TN: identity vector read from each frame.
        reference_N: identity vector read from the reference images.
        spread_N: standard deviation of readings within one identity, pooled over ground truth; 1 when None.
    """
    reference = track(reference_N, "reference identity")
    identity = tracks(identity_TN, "identity", columns=len(reference))
    spread = torch.ones_like(reference) if spread_N is None else track(spread_N, "spread", len(reference))
    if (spread <= 0).any():
        raise ValueError(f"spread is {float(spread.min())}; give standard deviations above 0")
    distance = ((identity - reference) / spread).square().mean(1).sqrt()
    return torch.where(mask(valid_T, "valid", len(identity)), distance, UNREAD_DISTANCE)


def identity_distance(
    identity_TN: Signal, reference_N: Signal, spread_N: Signal | None = None, valid_T: Signal | None = None
) -> Tensor:
    """Return IDD, the median over frames of ``identity_distances``; 0 is the reference itself."""
    return identity_distances(identity_TN, reference_N, spread_N, valid_T).quantile(0.5)


def identity_drift(distance_T: Signal, fps: float) -> Tensor:
    """Return IDS, the Theil-Sen slope of the identity distance per minute; 0 is steady."""
    distance = track(distance_T, "identity distance")
    return theil_sen(distance, torch.arange(len(distance)).double() / frame_rate(fps) / 60)


def verify(
    identity_TN: Signal,
    reference_N: Signal,
    others_RN: Signal,
    spread_N: Signal | None = None,
    valid_T: Signal | None = None,
) -> Tensor:
    """Return 1 if the clip is nearer to its own reference than to that of any other identity, else 0."""
    others = tracks(others_RN, "other identities", columns=len(torch.as_tensor(reference_N)))
    own = identity_distance(identity_TN, reference_N, spread_N, valid_T)
    # Unread frames are as far from everyone, so the others are measured on what was read.
    other = torch.stack([identity_distance(identity_TN, row, spread_N) for row in others])
    return (own < other.min()).double()


class IdentityDistance(Metric):
    """Mean over clips of ``identity_distance``.

    >>> metric = IdentityDistance()
    >>> metric.update(torch.full((5, 2), 0.5), torch.tensor([0.5, 0.1]), identity="S1")
    >>> round(float(metric.compute().value), 3)
    0.283
    """

    higher_is_better = False
    full_state_update = False

    def __init__(self, spread_N: list[float] | None = None, resamples: int = 2000, seed: int = 0) -> None:
        super().__init__()
        self.resamples, self.seed = resamples, seed
        self.spread_N = None if spread_N is None else torch.tensor(spread_N, dtype=torch.float64)
        add_clip_states(self)

    def update(
        self, identity_TN: Signal, reference_N: Signal, valid_T: Signal | None = None, identity: str | int = 0
    ) -> None:
        """Add one clip."""
        add_clip(self, identity_distance(identity_TN, reference_N, self.spread_N, valid_T), identity)

    def compute(self) -> Estimate:
        """Return the mean distance of all clips."""
        return estimate_clips(self, self.resamples, self.seed)


class IdentityVerification(Metric):
    """Share of clips that are nearer to their own reference than to that of any other identity, ``verify``."""

    higher_is_better = True
    full_state_update = False

    def __init__(self, spread_N: list[float] | None = None, resamples: int = 2000, seed: int = 0) -> None:
        super().__init__()
        self.resamples, self.seed = resamples, seed
        self.spread_N = None if spread_N is None else torch.tensor(spread_N, dtype=torch.float64)
        add_clip_states(self)

    def update(
        self,
        identity_TN: Signal,
        reference_N: Signal,
        others_RN: Signal,
        valid_T: Signal | None = None,
        identity: str | int = 0,
    ) -> None:
        """Add one clip."""
        add_clip(self, verify(identity_TN, reference_N, others_RN, self.spread_N, valid_T), identity)

    def compute(self) -> Estimate:
        """Return the share of verified clips."""
        return estimate_clips(self, self.resamples, self.seed)
