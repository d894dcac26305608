"""The sound of a corpus alone, as a LightningDataModule."""

from pathlib import Path
from typing import Any

from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader

from lpm.data import Cut, MemoryClips, first_start, list_shards, loader
from lpm.data.puppets.build import build_corpus
from lpm.data.puppets.plan import CorpusSpec, spec_hash
from lpm.train.data import cache_folder, only_global
from lpm.types import Batch


class AudioData(LightningDataModule):
    """Windows of both voices of a corpus; no picture is decoded.

    Args:
        shards: folder of shards named ``train-*`` and ``val-*``, with ``speak.wav`` or ``listen.wav``; None draws
            ``corpus`` on first use.
        corpus: what to draw; ``CorpusSpec()`` if None.
        folder: where the drawn corpus lives; a folder named after the spec in ``cache_folder()`` if None.
        frames: length of a clip in video frames, 1 + 4k; what is longer than a streaming window teaches something.
        batch_size: clips in a batch; each gives up to two voices.
        seed: of the order of clips and their windows.
        workers: processes that draw the corpus; all cores if None.
    """

    def __init__(
        self,
        shards: str | None = None,
        corpus: CorpusSpec | None = None,
        folder: str | None = None,
        frames: int = 117,
        batch_size: int = 8,
        seed: int = 0,
        workers: int | None = None,
    ) -> None:
        super().__init__()
        self.corpus, self.drawn = corpus or CorpusSpec(), shards is None
        self.folder = Path(folder) if folder else cache_folder() / f"puppets-{spec_hash(self.corpus)}"
        self.shards = self.folder / "shards" if shards is None else Path(shards)
        self.frames, self.batch_size, self.seed, self.workers = frames, batch_size, seed, workers
        self.place: dict[str, Any] | None = None
        self.train_clips: MemoryClips | None = None

    def prepare_data(self) -> None:
        """Draw what is missing."""
        if self.drawn:
            build_corpus(self.folder, self.corpus, self.workers)

    def train_dataloader(self) -> DataLoader[Batch]:
        """Return an endless loader of training batches."""
        cut = Cut(self.frames, [], references=only_global)
        self.train_clips = MemoryClips(list_shards(self.shards, "train-"), cut, self.batch_size, seed=self.seed)
        if self.place is not None:
            self.train_clips.load_state_dict(self.place)
        return loader(self.train_clips)

    def val_dataloader(self) -> DataLoader[Batch]:
        """Return one pass over held-out identities, of which each process sees its part."""
        return self.held_out()

    def performance_loaders(self) -> dict[str, DataLoader[Batch]]:
        """Return the clips to measure, all of them in every process: held-out identities."""
        return {"held_out": self.held_out(rank=0, world=1)}

    def held_out(self, **settings: Any) -> DataLoader[Batch]:
        """Return one pass over held-out identities."""
        cut = Cut(self.frames, [], references=only_global, start=first_start)
        shards = list_shards(self.shards, "val-")
        return loader(MemoryClips(shards, cut, self.batch_size, shuffle=False, repeat=False, **settings))

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
