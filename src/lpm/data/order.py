"""Which worker reads which sample when: a pure function of (seed, epoch), so a run can resume anywhere."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from lpm.data.shards import Shard


class Place(NamedTuple):
    """Sample ``row`` of shard number ``shard``."""

    shard: int
    row: int


def split(shards: Sequence[Shard], part: int, parts: int, order: Sequence[int] | None = None) -> list[Place]:
    """Return the samples of worker ``part`` of ``parts``: disjoint between parts, together complete.

    Whole shards are dealt out in turn; when there are fewer shards than parts, single samples are, lest a part starve.

    >>> two = [Shard("a", 2, 0, ""), Shard("b", 1, 0, "")]
    >>> [(place.shard, place.row) for place in split(two, part=0, parts=2)]
    [(0, 0), (0, 1)]
    """
    order = range(len(shards)) if order is None else order
    if len(shards) >= parts:
        order = order[part::parts]
    places = [Place(number, row) for number in order for row in range(shards[number].samples)]
    return places if len(shards) >= parts else places[part::parts]


def epoch_order(
    shards: Sequence[Shard], part: int, parts: int, seed: int, epoch: int, buffer: int
) -> tuple[list[Place], list[Place]]:
    """Return the samples of one part as (reading order, shuffled order).

    Shards are permuted, then samples drawn from a buffer of ``buffer`` read ones: what a streaming reader can do.
    ``buffer`` 0 keeps the order on disk.
    """
    if buffer == 0:
        places = split(shards, part, parts)
        return places, places
    order = np.random.default_rng((seed, epoch)).permutation(len(shards)).tolist()
    places = split(shards, part, parts, order)
    return places, _draw(places, buffer, np.random.default_rng((seed, epoch, 1 + part)))


def rank_and_world() -> tuple[int, int]:
    """Return the number of this process and of all: from torch.distributed, else from the launcher's environment."""
    import torch.distributed as dist

    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))


def worker_and_workers() -> tuple[int, int]:
    """Return this loader worker's number and the number of workers; (0, 1) in the main process."""
    from torch.utils.data import get_worker_info

    info = get_worker_info()
    return (0, 1) if info is None else (info.id, info.num_workers)


def _draw(places: list[Place], buffer: int, rng: np.random.Generator) -> list[Place]:
    waiting, drawn = places[:buffer], []
    for place in places[buffer:]:
        slot = int(rng.integers(len(waiting)))
        drawn.append(waiting[slot])
        waiting[slot] = place
    return drawn + [waiting[slot] for slot in rng.permutation(len(waiting))]
