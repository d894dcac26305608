"""The puppet corpus as a LightningDataModule: drawn once, encoded once, then clips from memory."""

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader

from lpm.codec import tiny_codec
from lpm.data import (
    Beginning,
    Cut,
    Latents,
    MemoryClips,
    Mixture,
    Pixels,
    begin_or_continue,
    draw_references,
    first_start,
    list_shards,
    loader,
    random_start,
    references_of,
)
from lpm.data.puppets.build import build_corpus
from lpm.data.puppets.plan import CorpusSpec, spec_hash
from lpm.train.encode import codec_hash, encode_corpus
from lpm.train.mixture_table import print_plan
from lpm.train.shard import replica
from lpm.types import Batch, Codec

Kind = Literal["global", "body", "expression"]


MEASURED = MappingProxyType({"seen": "seen", "held_out": "val"})
"""Sets that are measured after training, and their splits."""


def cache_folder() -> Path:
    """Return where corpora are kept when no folder is named: ``~/.cache/lpm`` (or under ``XDG_CACHE_HOME``)."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lpm"


class PuppetData(LightningDataModule):
    """Clips of the puppet corpus, which ``prepare_data`` draws and encodes on first use.

    Training clips are latents held in memory; their order is a function of the seed, and the position is part of every
    checkpoint, so that a resumed run sees the batches an uninterrupted one would have seen.

    Args:
        corpus: what to draw; ``CorpusSpec()`` if None.
        codec: encodes the corpus; the shipped codec if None.
        folder: where the corpus lives; a folder named after the spec in ``cache_folder()`` if None.
        frames: frames of a training clip, 1 + 4k.
        batch_size: clips in a batch.
        history: seconds of audio before a clip.
        lookahead: seconds of audio after it.
        extra_references: share of the clips that see other references beside the global one, which is always there,
            among those that have any; a random subset each time.
        extra_kinds: of which kinds these may be.
        measured_kinds: kinds of references that measured clips are given.
        measured_frames: frames of the clips that are generated and measured, 1 + 4k.
        measured_clips: at most so many per set.
        seed: of the order of clips, their windows and references.
        pixels: training and validation batches hold pixels instead of latents, to train a codec.
        workers: processes that draw and encode the corpus; all cores if None.
        mixture: how often clips of each activity are drawn; every clip equally often if None.
        beginning: how a training clip begins: ``lpm.data.begin_or_continue`` if None (half of the clips continue from 1
            or 2 latent frames), ``lpm.data.continue_from_causal`` for codecs that remember.
        references: which references a training clip sees, in place of ``extra_references`` and ``extra_kinds``, such as
            ``lpm.data.draw_kinds``.
        start: where a training clip starts: ``lpm.data.random_start`` if None, or ``lpm.data.early_start`` for corpora
            with ``reveals``.
    """

    def __init__(
        self,
        corpus: CorpusSpec | None = None,
        codec: Codec | None = None,
        folder: str | None = None,
        frames: int = 33,
        batch_size: int = 16,
        history: float = 2.6,
        lookahead: float = 0.2,
        extra_references: float = 0.03,
        extra_kinds: Sequence[Kind] = ("body", "expression"),
        measured_kinds: Sequence[Kind] = ("global",),
        measured_frames: int = 97,
        measured_clips: int = 32,
        seed: int = 0,
        pixels: bool = False,
        workers: int | None = None,
        mixture: Mixture | None = None,
        beginning: Callable[[int, np.random.Generator], Beginning] | None = None,
        references: Callable[[Sequence[dict[str, Any]], np.random.Generator], list[int]] | None = None,
        start: Callable[[int, int, np.random.Generator], int] | None = None,
    ) -> None:
        super().__init__()
        self.corpus = corpus or CorpusSpec()
        self.codec = codec or tiny_codec()
        self.folder = Path(folder) if folder else cache_folder() / f"puppets-{spec_hash(self.corpus)}"
        self.batch_size, self.seed, self.workers = batch_size, seed, workers
        self.measured_frames, self.measured_clips = measured_frames, measured_clips
        self.history, self.lookahead = history, lookahead
        self.pixels, self.mixture, self.measured_kinds = pixels, mixture, measured_kinds
        self.cut = Cut(
            frames,
            [Pixels() if pixels else Latents()],
            references=references or partial(draw_references, share=extra_references, kinds=extra_kinds),
            start=start or random_start,
            beginning=beginning or begin_or_continue,
            history=history,
            lookahead=lookahead,
        )
        self.place: dict[str, Any] | None = None
        self.train_clips: MemoryClips | None = None

    @property
    def encoded(self) -> Path:
        """The folder of the encoded shards."""
        return self.folder / f"latents-{codec_hash(self.codec)}"

    def prepare_data(self) -> None:
        """Draw and encode what is missing."""
        build_corpus(self.folder, self.corpus, self.workers)
        if not self.pixels:
            encode_corpus(self.codec, self.folder / "shards", self.encoded, self.workers)

    def clips(self, split: str, cut: Cut, **settings: Any) -> MemoryClips:
        """Return this process's clips of one split of the encoded corpus."""
        rank, world = replica(self.trainer)
        clips = self.clips_of(split, cut, rank=rank, world=world, **settings)
        if rank is not None and not clips.repeat:
            make_even(clips)
        return clips

    def clips_of(self, split: str, cut: Cut, **settings: Any) -> MemoryClips:
        """Return the clips of one split of the encoded corpus as ``MemoryClips`` divides them among processes."""
        folder = self.folder / "shards" if self.pixels else self.encoded
        return MemoryClips(list_shards(folder, f"{split}-"), cut, seed=self.seed, **settings)

    def train_dataloader(self) -> DataLoader[Batch]:
        """Return an endless loader of training batches; print what a mixture keeps, drops and repeats."""
        self.train_clips = self.clips("train", self.cut, batch_size=self.batch_size, mixture=self.mixture)
        if self.mixture is not None and self.trainer is not None:
            print_plan(self.train_clips, self.trainer)
        if self.place is not None:
            self.train_clips.load_state_dict(self.place)
        return loader(self.train_clips)

    def val_dataloader(self) -> DataLoader[Batch]:
        """Return one pass over held-out identities."""
        return self.held_out_loader("val")

    def test_dataloader(self) -> DataLoader[Batch]:
        """Return one pass over the identities that nothing was chosen by."""
        return self.held_out_loader("test")

    def held_out_loader(self, split: str) -> DataLoader[Batch]:
        """Return one pass over a split, from the beginning of each clip and with its global reference alone."""
        cut = Cut(
            self.cut.frames,
            self.cut.pictures,
            start=first_start,
            references=only_global,
            history=self.history,
            lookahead=self.lookahead,
        )
        return loader(self.clips(split, cut, batch_size=self.batch_size, shuffle=False, repeat=False))

    def performance_loaders(self, sets: Mapping[str, str] = MEASURED) -> dict[str, DataLoader[Batch]]:
        """Return the clips to generate and measure, by set, of the splits that ``sets`` names.

        Unless told else, unseen sentences of training identities, and held-out identities. One process measures, so
        every one gets them all.
        """
        cut = Cut(
            self.measured_frames,
            [Pixels()],
            start=first_start,
            references=partial(references_of, kinds=self.measured_kinds),
            history=self.history,
            lookahead=self.lookahead,
        )
        settings = {"batch_size": 8, "shuffle": False, "repeat": False, "rank": 0, "world": 1}
        made = {name: self.clips_of(split, cut, **settings) for name, split in sets.items()}
        for clips in made.values():
            clips.samples = clips.samples[: self.measured_clips]
        return {name: loader(clips) for name, clips in made.items()}

    def on_before_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Note that a training batch is being used."""
        if self.trainer is not None and self.trainer.training and self.train_clips is not None:
            self.train_clips.advance(batch)
        return batch

    def state_dict(self) -> dict[str, Any]:
        """Return the place in the training data."""
        return {} if self.train_clips is None else {"train": self.train_clips.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue at a saved place."""
        self.place = state_dict.get("train")


def make_even(clips: MemoryClips) -> None:
    """Give all replicas equally many batches, since sharded ones wait for each other: the last clips are left out, or,
    where there are fewer than one batch for each, all replicas take the same.
    """
    step = clips.batch_size * clips.world
    if len(clips.samples) < step:
        clips.rank, clips.world = 0, 1
    else:
        clips.samples = clips.samples[: len(clips.samples) // step * step]


def only_global(references: Any, rng: Any) -> list[int]:
    """Take the global reference alone."""
    return references_of(references, rng)
