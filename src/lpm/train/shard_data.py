"""One's own shards as a LightningDataModule: any number of them, streamed."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch import LightningDataModule
from torch import nn
from torch.utils.data import DataLoader

from lpm.codec import tiny_codec
from lpm.data import (
    Beginning,
    ClipDataset,
    Cut,
    Latents,
    MemoryClips,
    Pixels,
    Shard,
    begin_or_continue,
    draw_references,
    first_start,
    gather_states,
    list_shards,
    loader,
    random_start,
)
from lpm.train.data import MEASURED, Kind, make_even, only_global
from lpm.train.device import on_device
from lpm.train.encode import codec_hash, encode_corpus
from lpm.train.shard import replica
from lpm.types import Batch, Codec


class ShardData(LightningDataModule):
    """Clips of one's own shards in the schema of ``lpm.data``, such as ``ShardWriter`` writes.

    Training clips are streamed: a worker holds ``buffer`` samples, however many there are. Their order is a function of
    the seed, and the place is part of every checkpoint, so that a run which is resumed on as many processes, with as
    many ``num_workers``, sees the batches that an uninterrupted one would have seen. Clips that break the schema, are
    too short, or cannot be read, are left out and counted. Held-out clips are held in memory.

    Args:
        shards: folder of shards named ``train-*``, and ``val-*`` and ``test-*`` where there are clips held out.
        codec: encodes the clips, once; the shipped codec if None.
        encoded: where the encoded shards live; a folder named after the codec inside ``shards`` if None.
        pixels: decode videos while training and let the model's codec encode them in every step, or to train a codec;
            nothing is encoded beforehand then.
        frames: frames of a training clip, 1 + 4k.
        fps: clips of another frame rate are left out; None if all have one.
        batch_size: clips in a batch, of each process.
        history: seconds of audio before a clip.
        lookahead: seconds of audio after it.
        extra_references: share of the clips that see other references beside the global one, among those that have any;
            a random subset each time.
        extra_kinds: of which kinds these may be.
        measured_frames: frames of the clips that are performed to be looked at, 1 + 4k.
        measured_clips: at most so many.
        seed: of the order of clips, their windows and references.
        buffer: samples, still encoded, among which each reader shuffles.
        num_workers: processes that read ahead; 0 reads in this one.
        workers: processes that encode; all cores if None.
        device: where clips are encoded; on ``cuda`` by this process alone.
        beginning: how a training clip begins: ``lpm.data.begin_or_continue`` if None.
        references: which references a training clip sees, in place of ``extra_references`` and ``extra_kinds``.
        start: where a training clip starts: ``lpm.data.random_start`` if None.
    """

    def __init__(
        self,
        shards: str,
        codec: Codec | None = None,
        encoded: str | None = None,
        pixels: bool = False,
        frames: int = 33,
        fps: float | None = None,
        batch_size: int = 16,
        history: float = 2.6,
        lookahead: float = 0.2,
        extra_references: float = 0.3,
        extra_kinds: Sequence[Kind] = ("body", "expression"),
        measured_frames: int = 97,
        measured_clips: int = 8,
        seed: int = 0,
        buffer: int = 256,
        num_workers: int = 0,
        workers: int | None = None,
        device: str = "cpu",
        beginning: Callable[[int, np.random.Generator], Beginning] | None = None,
        references: Callable[[Sequence[dict[str, Any]], np.random.Generator], list[int]] | None = None,
        start: Callable[[int, int, np.random.Generator], int] | None = None,
    ) -> None:
        super().__init__()
        self.shards, self.codec = Path(shards), codec or tiny_codec()
        self.pixels, self.batch_size, self.seed, self.buffer = pixels, batch_size, seed, buffer
        self.num_workers, self.workers, self.device = num_workers, workers, device
        self.measured_frames, self.measured_clips = measured_frames, measured_clips
        self.cut = Cut(
            frames,
            [Pixels() if pixels else Latents()],
            fps=fps,
            references=references or partial(draw_references, share=extra_references, kinds=extra_kinds),
            start=start or random_start,
            beginning=beginning or begin_or_continue,
            history=history,
            lookahead=lookahead,
        )
        self.encoded = self.shards / f"latents-{codec_hash(self.codec)}" if encoded is None else Path(encoded)
        self.place: dict[str, Any] | None = None
        self.train_clips: ClipDataset | None = None

    def prepare_data(self) -> None:
        """Encode what is not encoded yet; print how many clips were left out, by reason.

        Raises:
            ValueError: the folder is missing or holds no ``train-*.tar``, or there is no such device.
        """
        list_shards(self.shards, "train-")
        if self.pixels:
            return
        codec, alone = self.codec, self.device != "cpu"
        assert isinstance(codec, nn.Module)
        workers = 1 if alone else self.workers
        counts = encode_corpus(on_device(codec, self.device), self.shards, self.encoded, workers, drop=True)
        codec.cpu()
        encoded = counts.pop("encoded", 0)
        if counts:
            reasons = ", ".join(f"{number} {reason}" for reason, number in counts.most_common())
            print(f"{encoded} clips encoded; left out: {reasons}; `lpm data check {self.shards}` names them")

    def found(self, split: str, pixels: bool) -> list[Shard]:
        """Return the shards of a split, none where it has none; encoded ones unless pixels are wanted."""
        names = {path.name for path in self.shards.glob(f"{split}-*.tar")}
        folder = self.shards if pixels else self.encoded
        if not any((folder / name).exists() for name in names):
            return []
        return [shard for shard in list_shards(folder, f"{split}-") if Path(shard.path).name in names]

    def train_dataloader(self) -> DataLoader[Batch]:
        """Return an endless loader of training batches."""
        rank, world = replica(self.trainer)
        shards = self.found("train", self.pixels)
        if not shards:
            raise ValueError(
                f"no clip of {self.shards}/train-*.tar could be encoded; see `lpm data check {self.shards}`"
            )
        self.train_clips = ClipDataset(
            shards, self.cut, self.batch_size, seed=self.seed, buffer=self.buffer, rank=rank, world=world
        )
        if self.place is not None:
            self.train_clips.load_state_dict(self.place)
        return loader(self.train_clips, self.num_workers)

    def val_dataloader(self) -> DataLoader[Batch] | list[DataLoader[Batch]]:
        """Return one pass over the clips held out, none if there are none."""
        return self.held_out_loader("val")

    def test_dataloader(self) -> DataLoader[Batch] | list[DataLoader[Batch]]:
        """Return one pass over the clips that nothing was chosen by, none if there are none."""
        return self.held_out_loader("test")

    def held_out_loader(self, split: str) -> DataLoader[Batch] | list[DataLoader[Batch]]:
        """Return one pass over a split, from the beginning of each clip and with its global reference alone."""
        shards = self.found(split, self.pixels)
        if not shards:
            return []
        rank, world = replica(self.trainer)
        cut = self.from_the_beginning(self.cut.frames, self.pixels)
        clips = MemoryClips(shards, cut, self.batch_size, shuffle=False, repeat=False, rank=rank, world=world)
        if rank is not None:
            make_even(clips)
        return loader(clips)

    def performance_loaders(self, sets: Mapping[str, str] = MEASURED) -> dict[str, DataLoader[Batch]]:
        """Return the clips to perform, with pixels, by set, of the splits that ``sets`` names and the folder holds."""
        cut = self.from_the_beginning(self.measured_frames, pixels=True)
        found = {name: self.found(split, pixels=True)[:1] for name, split in sets.items()}
        made = {
            name: MemoryClips(shards, cut, self.measured_clips, shuffle=False, repeat=False, rank=0, world=1)
            for name, shards in found.items()
            if shards
        }
        for clips in made.values():
            clips.samples = clips.samples[: self.measured_clips]
        return {name: loader(clips) for name, clips in made.items()}

    def from_the_beginning(self, frames: int, pixels: bool) -> Cut:
        """Return what cuts the first frames of clips held out."""
        return Cut(
            frames,
            [Pixels() if pixels else Latents()],
            fps=self.cut.fps,
            start=first_start,
            references=only_global,
            history=self.cut.history,
            lookahead=self.cut.lookahead,
        )

    def on_before_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Note that a training batch is being used."""
        if self.trainer is not None and self.trainer.training and self.train_clips is not None:
            self.train_clips.advance(batch)
        return batch

    def state_dict(self) -> dict[str, Any]:
        """Return the place of every process in the training data; a collective call where there are several."""
        return {} if self.train_clips is None else {"train": gather_states(self.train_clips.state_dict())}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue at a saved place."""
        self.place = state_dict.get("train")
