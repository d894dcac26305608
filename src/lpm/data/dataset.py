"""Batches streamed from shards, resumable at any batch."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.data import DataLoader, IterableDataset

from lpm.data.batch import collate
from lpm.data.order import epoch_order, rank_and_world, worker_and_workers
from lpm.data.schema import Sample
from lpm.data.shards import Shard, list_shards
from lpm.data.stages import Counts, apply, read_places, valid
from lpm.data.window import Clip, Cut
from lpm.types import Batch


class ClipDataset(IterableDataset[Batch]):
    """Streams batches of clips from shards; iterate it through ``loader``.

    The order is a pure function of (seed, epoch, rank, workers). Nothing is remembered while reading, because loader
    workers read ahead: each batch carries its place in ``meta[-1]["progress"]``, and the consumer says
    ``advance(batch)`` when it has used one. ``state_dict`` is then the place after that batch; iterating starts there.
    Batches carry what was dropped, too, by reason, and ``advance`` adds it up in ``dropped``; a worker that finds
    nothing usable has no batch, and only logs it.

    Args:
        shards: folder (see ``list_shards``) or a list of shards.
        cut: makes a clip of a sample.
        batch_size: clips in a batch.
        seed: of order, windows and reference choice.
        buffer: samples, still encoded, that a worker shuffles among; 0 keeps the order on disk.
        repeat: go on with the next epoch for ever, so that no rank ends before another; False: end after one epoch.
        rank, world: this process of how many; by default those of torch.distributed or the launcher.
    """

    def __init__(
        self,
        shards: Path | str | Sequence[Shard],
        cut: Cut,
        batch_size: int,
        seed: int = 0,
        buffer: int = 256,
        repeat: bool = True,
        rank: int | None = None,
        world: int | None = None,
    ) -> None:
        if batch_size < 1 or buffer < 0:
            raise ValueError(f"batch_size {batch_size} must be 1 or more and buffer {buffer} 0 or more")
        self.shards = list_shards(shards) if isinstance(shards, str | Path) else list(shards)
        self.cut, self.batch_size, self.seed, self.buffer, self.repeat = cut, batch_size, seed, buffer, repeat
        self.rank, self.world = resolve_rank(rank, world)
        self.dropped: Counter[str] = Counter()
        self.set_epoch(0)

    @property
    def samples(self) -> int:
        """Samples in all shards, those to be dropped included."""
        return sum(shard.samples for shard in self.shards)

    def set_epoch(self, epoch: int) -> None:
        """Start at the beginning of ``epoch`` when next iterated."""
        self.epoch = epoch
        self.cursors: dict[int, tuple[int, int]] = {}
        self.workers: int | None = None
        self.next_worker = 0

    def advance(self, batch: Batch) -> None:
        """Note that ``batch`` was used; call it once for each batch, in the order they came."""
        progress = batch.meta[-1]["progress"]
        self.workers = progress["workers"]
        self.next_worker = (progress["worker"] + 1) % progress["workers"]
        self.cursors[progress["worker"]] = (progress["epoch"], progress["position"])
        self.dropped.update(progress["dropped"])

    def state_dict(self) -> dict[str, Any]:
        """Return the place after the last batch passed to ``advance``, of this rank; see ``gather_states``."""
        place = {
            "epoch": self.epoch,
            "cursors": dict(self.cursors),
            "workers": self.workers,
            "next_worker": self.next_worker,
        }
        return {"ranks": {self.rank: {**self._identity(), **place, "dropped": dict(self.dropped)}}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where ``state`` was taken. Raises ValueError when data, seed, batch size or ranks differ."""
        place = own_state(state, self.rank, self._identity())
        self.epoch, self.workers, self.next_worker = place["epoch"], place["workers"], place["next_worker"]
        self.cursors = {int(worker): (epoch, position) for worker, (epoch, position) in place["cursors"].items()}
        self.dropped = Counter(place["dropped"])

    def check_workers(self, workers: int) -> None:
        """Raise ValueError if the state was saved with another number of loader workers (0 counts as 1)."""
        if self.workers not in (None, max(1, workers)):
            raise ValueError(
                f"the state was saved with {self.workers} loader workers, now there are {workers}; use {self.workers}"
            )

    def __iter__(self) -> Iterator[Batch]:
        worker, workers = worker_and_workers()
        self.check_workers(workers)
        worker = (worker + self.next_worker) % workers  # the loader asks its worker 0 first
        rows: list[Clip] = []
        last: Batch | None = None  # held back until another clip comes: the last one carries the drops up to the end
        counts = Counts()
        for clip in self._clips(worker, workers, counts):
            if last is not None:
                yield last
                last = None
            rows.append(clip)
            if len(rows) == self.batch_size:
                last, rows = self._batch(rows, worker, workers, counts), []
        last = self._batch(rows, worker, workers, counts) if rows else last
        if last is not None:
            last.meta[-1]["progress"]["dropped"] += counts.take()
            yield last

    def _batch(self, rows: list[Clip], worker: int, workers: int, counts: Counts) -> Batch:
        epoch, position = rows[-1].meta["cursor"]
        place = {"worker": worker, "workers": workers, "epoch": epoch, "position": position}
        rows[-1].meta["progress"] = {**place, "dropped": counts.take()}
        return collate(rows)

    def _clips(self, worker: int, workers: int, counts: Counts) -> Iterator[Clip]:
        epoch, position = self.cursors.get(worker, (self.epoch, 0))
        while True:
            clips = 0
            for clip in apply(valid(self._epoch(worker, workers, epoch, position), counts), self._clip, counts):
                clips += 1
                yield clip
            if self.repeat and position == 0 and clips == 0:  # would read the same bad samples for ever
                raise ValueError(f"no usable sample for this loader worker (dropped: {counts}); repair the shards")
            if not self.repeat:
                return
            epoch, position = epoch + 1, 0

    def _epoch(self, worker: int, workers: int, epoch: int, position: int) -> Iterator[Sample]:
        part, parts = self.rank * workers + worker, self.world * workers
        reading, order = epoch_order(self.shards, part, parts, self.seed, epoch, self.buffer)
        if not order and self.repeat:
            raise ValueError(
                f"{self.samples} samples cannot feed {parts} readers (ranks x loader workers); use fewer workers"
            )
        for after, sample in enumerate(read_places(self.shards, reading, order[position:]), position + 1):
            yield {**sample, "__cursor__": (epoch, after)}

    def _clip(self, sample: Sample) -> Clip:
        epoch = sample["__cursor__"][0]
        rng = np.random.default_rng((self.seed, epoch, zlib.crc32(sample["__key__"].encode())))
        clip = self.cut(sample, rng)
        clip.meta["cursor"] = sample["__cursor__"]
        return clip

    def _identity(self) -> dict[str, int]:
        return {"seed": self.seed, "world": self.world, "batch_size": self.batch_size, "samples": self.samples}


def loader(dataset: IterableDataset[Batch], workers: int = 0, pin_memory: bool = False) -> DataLoader[Batch]:
    """Return a DataLoader over batches; ``workers`` processes decode ahead, 0 decodes in this one."""
    check = getattr(dataset, "check_workers", None)
    if check is not None:
        check(workers)
    return DataLoader(dataset, batch_size=None, num_workers=workers, pin_memory=pin_memory)


def resolve_rank(rank: int | None, world: int | None) -> tuple[int, int]:
    """Return (rank, world), by default those of the running process."""
    found_rank, found_world = rank_and_world()
    rank, world = found_rank if rank is None else rank, found_world if world is None else world
    if not 0 <= rank < world:
        raise ValueError(f"rank {rank} is not in 0..{world - 1}; give rank and world of this process")
    return rank, world


def own_state(state: dict[str, Any], rank: int, identity: dict[str, Any]) -> dict[str, Any]:
    """Return this rank's part of a saved state after checking that it fits the data and settings of now."""
    ranks = {int(number): place for number, place in state["ranks"].items()}
    if rank not in ranks:
        raise ValueError(f"the state holds ranks {sorted(ranks)}, this is rank {rank}; save it with gather_states")
    for name, value in identity.items():
        saved = ranks[rank].get(name, str(None))
        if saved != value:
            raise ValueError(f"the state was saved with {name} {saved}, now it is {value}; restore that or start anew")
    return ranks[rank]


def gather_states(state: dict[str, Any]) -> dict[str, Any]:
    """Merge the states of all ranks; a collective call when torch.distributed runs, else ``state`` itself."""
    import torch.distributed as dist

    if not (dist.is_available() and dist.is_initialized()):
        return state
    states: list[dict[str, Any]] = [{}] * dist.get_world_size()
    dist.all_gather_object(states, state)
    return {"ranks": {rank: place for part in states for rank, place in part["ranks"].items()}}
