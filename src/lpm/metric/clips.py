"""The state that every metric keeps: one score, one weight and one identity per clip."""

from __future__ import annotations

import hashlib
from typing import cast

import torch
import torch.distributed as dist
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from lpm.metric.statistics import Estimate, estimate


def add_clip_states(metric: Metric) -> None:
    """Give a metric empty lists of clip scores, weights and identities; processes are joined by concatenation."""
    add_lists(metric, "scores", "weights", "clusters")


def add_lists(metric: Metric, *names: str) -> None:
    """Give a metric empty lists; processes are joined by concatenation, those that have no clip, too."""
    metric.dist_sync_fn = gather
    for name in names:
        metric.add_state(name, default=[], dist_reduce_fx="cat")


def gather(rows: Tensor, group: dist.ProcessGroup | None = None) -> list[Tensor]:
    """Return the rows of all processes, in their order.

    In place of torchmetrics' own: where a process has seen no clip, it sends float32, and the others float64 or bool.
    """
    found: list[Tensor] = [rows] * dist.get_world_size(group)
    dist.all_gather_object(found, rows.cpu(), group=group)
    return [each.to(rows.device) for each in found if len(each)] or [rows]


def add_clip(metric: Metric, score: Tensor, identity: str | int, weight: float = 1.0) -> None:
    """Append one clip."""
    states = _states(metric)
    states["scores"].append(score.reshape(1).double().to(metric.device))
    states["weights"].append(torch.tensor([weight], dtype=torch.float64, device=metric.device))
    states["clusters"].append(torch.tensor([identity_code(identity)], device=metric.device))


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
