"""Pairs of preference as a LightningDataModule: made once, then read from memory."""

import hashlib
import json
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader

from lpm.data import (
    Cut,
    MemoryClips,
    PairLatents,
    Pixels,
    all_references,
    continue_performance,
    first_start,
    list_shards,
    loader,
)
from lpm.data.puppets.build import build_corpus
from lpm.data.puppets.plan import CorpusSpec, spec_hash
from lpm.preference import Scorer, described
from lpm.sample import base_puppet
from lpm.train.checkpoint import fingerprint, load_model
from lpm.train.data import cache_folder, only_global
from lpm.train.device import on_device
from lpm.train.pairs import PairSettings, make_pairs
from lpm.types import Batch


class PairData(LightningDataModule):
    """Pairs of clips performed by a model, which ``prepare_data`` makes on first use, and held-out clips to measure.

    Args:
        corpus: whose clips are the conditions; ``CorpusSpec()`` if None. Drawn on first use.
        weights: checkpoint or weights folder that performs the candidates; the shipped puppet weights if None.
        settings: how candidates are made; ``PairSettings()`` if None.
        scorers: judges of the candidates; ``PuppetScorer()`` if None.
        corpus_folder: where the corpus lives; a folder named after the spec in ``cache_folder()`` if None.
        folder: where the pairs live; a folder named after what makes them inside the corpus if None.
        frames: frames of a training window, 1 + 4k.
        given: latent frames after the first that a window inside a clip is given, as many as in performing.
        batch_size: pairs in a batch.
        measured_frames: frames of the held-out clips, 1 + 4k.
        measured_clips: at most so many.
        seed: of the order of pairs and their windows.
        workers: processes that draw the corpus; all cores if None.
        device: where candidates are generated, such as ``cuda``.
    """

    def __init__(
        self,
        corpus: CorpusSpec | None = None,
        weights: str | None = None,
        settings: PairSettings | None = None,
        scorers: list[Scorer] | None = None,
        corpus_folder: str | None = None,
        folder: str | None = None,
        frames: int = 33,
        given: int = 2,
        batch_size: int = 8,
        measured_frames: int = 97,
        measured_clips: int = 64,
        seed: int = 0,
        workers: int | None = None,
        device: str = "cpu",
    ) -> None:
        super().__init__()
        self.corpus, self.weights, self.scorers = corpus or CorpusSpec(), weights, scorers
        self.settings = settings or PairSettings()
        self.corpus_folder = Path(corpus_folder or cache_folder() / f"puppets-{spec_hash(self.corpus)}")
        self.folder = Path(folder or self.corpus_folder / f"pairs-{self.name()}")
        self.batch_size, self.seed, self.workers, self.device = batch_size, seed, workers, device
        self.measured_clips = measured_clips
        history, lookahead = self.settings.history, self.settings.lookahead
        self.cut = Cut(
            frames,
            [PairLatents()],
            references=all_references,
            beginning=partial(continue_performance, given=given),
            history=history,
            lookahead=lookahead,
        )
        self.measured = Cut(
            measured_frames,
            [Pixels()],
            start=first_start,
            references=only_global,
            history=history,
            lookahead=lookahead,
        )
        self.place: dict[str, Any] | None = None
        self.train_clips: MemoryClips | None = None

    def name(self) -> str:
        """Return a short hash of the settings, the weights and the scorers."""
        scorers = None if self.scorers is None else [described(scorer) for scorer in self.scorers]
        text = json.dumps([asdict(self.settings), fingerprint(self.weights), scorers], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def prepare_data(self) -> None:
        """Draw the corpus and make the pairs, whatever of them is missing."""
        model = on_device(base_puppet() if self.weights is None else load_model(self.weights), self.device)
        build_corpus(self.corpus_folder, self.corpus, self.workers)
        shards = list_shards(self.corpus_folder / "shards", "train-")
        make_pairs(model, shards, self.folder, self.scorers, self.settings)

    def train_dataloader(self) -> DataLoader[Batch]:
        """Return an endless loader of pairs: ``latents_BTCYX`` the winners, ``loser_BTCYX`` the losers."""
        self.train_clips = MemoryClips(list_shards(self.folder), self.cut, self.batch_size, seed=self.seed)
        if self.place is not None:
            self.train_clips.load_state_dict(self.place)
        return loader(self.train_clips)

    def performance_loaders(self) -> dict[str, DataLoader[Batch]]:
        """Return the clips to perform and measure, all of them in every process: held-out characters."""
        shards = list_shards(self.corpus_folder / "shards", "val-")
        clips = MemoryClips(shards, self.measured, batch_size=8, shuffle=False, repeat=False, rank=0, world=1)
        clips.samples = clips.samples[: self.measured_clips]
        return {"held_out": loader(clips)}

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
