"""The state that every metric keeps: one score, one weight and one identity per clip."""

from __future__ import annotations

import hashlib
from typing import cast

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from lpm.metric.statistics import Estimate, estimate


def add_clip_states(metric: Metric) -> None:
    """Give a metric empty lists of clip scores, weights and identities; processes are joined by concatenation."""
    for name in ("scores", "weights", "clusters"):
        metric.add_state(name, default=[], dist_reduce_fx="cat")


def add_clip(metric: Metric, score: Tensor, identity: str | int, weight: float = 1.0) -> None:
    """Append one clip."""
    states = _states(metric)
    states["scores"].append(score.reshape(1).double())
    states["weights"].append(torch.tensor([weight], dtype=torch.float64))
    states["clusters"].append(torch.tensor([identity_code(identity)]))


def estimate_clips(metric: Metric, resamples: int, seed: int) -> Estimate:
    """Return the weighted mean of all clips with its interval; ValueError when no clip was added."""
    states = _states(metric)
    if not len(states["scores"]):
        raise ValueError(f"{type(metric).__name__} has seen no clip; call update first")
    scores, weights, clusters = (dim_zero_cat(states[name]) for name in ("scores", "weights", "clusters"))
    return estimate(scores, clusters, weights, resamples=resamples, seed=seed)


def identity_code(identity: str | int) -> int:
    """Return a stable integer for an identity's name, equal in every process.

    >>> identity_code("S0042") == identity_code("S0042"), identity_code(7)
    (True, 7)
    """
    if isinstance(identity, int):
        return identity
    return int.from_bytes(hashlib.blake2b(identity.encode(), digest_size=7).digest(), "big")


def _states(metric: Metric) -> dict[str, list[Tensor]]:
    return cast(dict[str, list[Tensor]], metric.metric_state)
