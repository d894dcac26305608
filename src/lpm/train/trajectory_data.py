"""Trajectories of a teacher as a LightningDataModule: made once, then read from memory."""

import hashlib
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader

from lpm.data import MemoryClips, TrajectoryLatents, all_references, list_shards, loader
from lpm.data.puppets.build import build_corpus
from lpm.data.puppets.plan import CorpusSpec, spec_hash
from lpm.sample import base_puppet
from lpm.train.checkpoint import fingerprint, load_model
from lpm.train.data import cache_folder
from lpm.train.device import on_device
from lpm.train.trajectories import TrajectorySettings, check_made, make_trajectories
from lpm.types import Batch


class TrajectoryData(LightningDataModule):
    """Clips that a teacher performs, with the points on its way, which ``prepare_data`` makes on first use.

    All four stages read them: the first learns the points, the second the clips at their end, and the roll-outs of
    the others begin with their pictures and hear their voices.

    Args:
        corpus: whose clips are the conditions; ``CorpusSpec()`` if None. Drawn on first use.
        teacher: checkpoint or weights folder that performs; the shipped puppet weights if None.
        settings: how trajectories are made; ``TrajectorySettings()`` if None.
        corpus_folder: where the corpus lives; a folder named after the spec in ``cache_folder()`` if None.
        folder: where the trajectories live; a folder named after what makes them inside the corpus if None. One that
            ``lpm data trajectories`` has filled, of whatever clips, is read as it is: no corpus is drawn.
        batch_size: clips in a batch.
        seed: of their order.
        workers: processes that draw the corpus; all cores if None.
        device: where trajectories are made, such as ``cuda``.
    """

    def __init__(
        self,
        corpus: CorpusSpec | None = None,
        teacher: str | None = None,
        settings: TrajectorySettings | None = None,
        corpus_folder: str | None = None,
        folder: str | None = None,
        batch_size: int = 4,
        seed: int = 0,
        workers: int | None = None,
        device: str = "cpu",
    ) -> None:
        super().__init__()
        self.corpus, self.teacher = corpus or CorpusSpec(), teacher
        self.settings = settings or TrajectorySettings()
        self.corpus_folder = Path(corpus_folder or cache_folder() / f"puppets-{spec_hash(self.corpus)}")
        self.given = folder is not None
        self.folder = Path(folder or self.corpus_folder / f"trajectories-{self.name()}")
        self.batch_size, self.seed, self.workers, self.device = batch_size, seed, workers, device
        self.place: dict[str, Any] | None = None
        self.train_clips: MemoryClips | None = None

    def name(self) -> str:
        """Return a short hash of the settings and the teacher's weights."""
        text = json.dumps([asdict(self.settings), fingerprint(self.teacher)], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def prepare_data(self) -> None:
        """Draw the corpus and make the trajectories, whatever of them is missing; given ones are only checked.

        Raises:
            ValueError: the folder holds trajectories of another teacher, other settings or other clips, or not all of
                them; or there is no such device.
        """
        teacher = base_puppet() if self.teacher is None else load_model(self.teacher)
        if self.given and (self.folder / "trajectories.json").exists():
            if (self.folder / "summary.json").exists():
                check_made(self.folder, teacher, self.settings)
                return
            if not self.corpus_folder.exists():
                raise ValueError(f"{self.folder} does not hold all trajectories yet; run `lpm data trajectories` again")
        teacher = on_device(teacher, self.device)
        build_corpus(self.corpus_folder, self.corpus, self.workers)
        shards = list_shards(self.corpus_folder / "shards", "train-")
        make_trajectories(teacher, shards, self.folder, self.settings)

    def train_dataloader(self) -> DataLoader[Batch]:
        """Return an endless loader of whole clips."""
        cut = replace(self.settings.cut, pictures=[TrajectoryLatents()], references=all_references)
        self.train_clips = MemoryClips(list_shards(self.folder), cut, self.batch_size, seed=self.seed)
        if self.place is not None:
            self.train_clips.load_state_dict(self.place)
        return loader(self.train_clips)

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
