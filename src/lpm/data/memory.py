"""Batches drawn from samples held in memory: no decoding while training, for small corpora and few cores."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.data import IterableDataset

from lpm.data.batch import collate
from lpm.data.dataset import own_state, resolve_rank
from lpm.data.mixture import Mixture
from lpm.data.order import worker_and_workers
from lpm.data.schema import Sample
from lpm.data.shards import Shard, list_shards, read_shard
from lpm.data.stages import Counts, apply, decode_fields, valid
from lpm.data.window import Clip, Cut, first_start, last_start
from lpm.types import Batch


class MemoryClips(IterableDataset[Batch]):
    """Loads all samples once, decoded, and draws batches: batch ``step`` is a pure function of (seed, step).

    So its state is one number, and any number of loader workers gives the same batches.

    Args:
        shards: folder (see ``list_shards``) or a list of shards.
        cut: makes a clip of a sample; with ``Latents`` no video is kept.
        batch_size: clips in a batch, of one rank.
        seed: of order, windows and reference choice.
        shuffle: draw in a new order each epoch; False: in the order on disk.
        repeat: go on for ever; False: end after one epoch.
        rank, world: this process of how many; by default those of torch.distributed or the launcher.
        mixture: how often clips of each activity are drawn, which may depend on the batch's number; None draws every
            sample once in an epoch.
    """

    def __init__(
        self,
        shards: Path | str | Sequence[Shard],
        cut: Cut,
        batch_size: int,
        seed: int = 0,
        shuffle: bool = True,
        repeat: bool = True,
        rank: int | None = None,
        world: int | None = None,
        mixture: Mixture | None = None,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size {batch_size} is below 1; give 1 or more")
        self.cut, self.batch_size, self.seed, self.shuffle, self.repeat = cut, batch_size, seed, shuffle, repeat
        self.rank, self.world = resolve_rank(rank, world)
        self.step = 0
        counts = Counts()
        self.samples = load_samples(list_shards(shards) if isinstance(shards, str | Path) else shards, cut, counts)
        self.dropped = counts.dropped
        if not self.samples:
            raise ValueError(f"no usable sample in the shards (dropped: {counts}); repair them or shorten the window")

        self.mixture = mixture
        self.draws = None if mixture is None else mixture.over(self.samples)

    def __len__(self) -> int:
        if self.repeat:
            raise TypeError("an endless dataset has no length; bound the run by steps")
        return max(0, -(-(len(self.samples) - self.rank * self.batch_size) // (self.batch_size * self.world)))

    def __iter__(self) -> Iterator[Batch]:
        worker, workers = worker_and_workers()
        steps = count() if self.repeat else range(len(self))
        for step in steps:
            if step >= self.step and (step - self.step) % workers == worker:
                yield self.draw(step)

    def draw(self, step: int) -> Batch:
        """Return batch number ``step`` of this rank."""
        first = (step * self.world + self.rank) * self.batch_size
        last = first + self.batch_size if self.repeat else min(first + self.batch_size, len(self.samples))
        return collate([self._clip(number) for number in range(first, last)])

    def advance(self, batch: Batch) -> None:
        """Note that ``batch`` was used; call it once for each batch, in the order they came."""
        self.step += 1

    def set_epoch(self, epoch: int) -> None:
        """Start from the first batch when next iterated; epochs follow each other by themselves."""
        self.step = 0

    def state_dict(self) -> dict[str, Any]:
        """Return the place after the last batch passed to ``advance``; equal on all ranks."""
        return {"step": self.step, **self._identity()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where ``state`` was taken. Raises ValueError when data, seed, batch size or ranks differ."""
        self.step = own_state({"ranks": {0: state}}, 0, self._identity())["step"]

    def row(self, number: int) -> int:
        """Return which sample is number ``number`` of all ranks' draws."""
        epoch, position = divmod(number, len(self.samples))
        order, offset = _order(self.seed, epoch, len(self.samples))
        row = int(order[position]) if self.shuffle else position
        if self.draws is None:
            return row
        return self.draws.row(number // (self.world * self.batch_size), (row + offset) / len(self.samples))

    def count(self, batches: int) -> np.ndarray:
        """Return how often each sample is drawn in the first ``batches`` batches of all ranks, (N,)."""
        rows = [self.row(number) for number in range(batches * self.world * self.batch_size)]
        return np.bincount(rows, minlength=len(self.samples))

    def _clip(self, number: int) -> Clip:
        return self.cut(self.samples[self.row(number)], np.random.default_rng((self.seed, number)))

    def _identity(self) -> dict[str, Any]:
        numbers = {"seed": self.seed, "world": self.world, "batch_size": self.batch_size, "samples": len(self.samples)}
        return {**numbers, "mixture": repr(self.mixture)}


def load_samples(shards: Sequence[Shard], cut: Cut, counts: Counts) -> list[Sample]:
    """Read and decode the fields that ``cut`` needs of every sample it can cut; the others are counted and left out."""
    keep = {"wav", "npz"}.union(*(source.fields for source in cut.pictures))
    ends = [replace(cut, start=start) for start in (first_start, last_start)]

    def usable(sample: Sample) -> Sample:
        decoded = decode_fields(sample, keep)
        for end in ends:
            end(decoded, np.random.default_rng(0))
        return decoded

    raw = (sample for shard in shards for sample in read_shard(shard.path))
    return list(apply(valid(raw, counts), usable, counts))


@lru_cache(maxsize=2)
def _order(seed: int, epoch: int, length: int) -> tuple[np.ndarray, float]:
    """Return the order of an epoch, and a number in [0, 1) that decides which rare samples are drawn in it."""
    rng = np.random.default_rng((seed, epoch))
    return rng.permutation(length), float(rng.random())
