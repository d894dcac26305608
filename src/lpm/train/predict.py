"""``lightning predict``: requests in a recipe -> videos with sound."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, TypeVar

import torch
from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.callbacks import BasePredictionWriter
from torch import Tensor
from torch.utils.data import DataLoader

from lpm.data import write_video
from lpm.sample import Schedule
from lpm.train.checkpoint import load_performer
from lpm.train.frames import to_frames
from lpm.train.request import Request, sound_of, to_batch
from lpm.types import Batch

Piece = TypeVar("Piece")


class BasePrediction(LightningModule):
    """Perform requests with a trained Base model.

    Args:
        weights: checkpoint of ``lightning fit``, weights folder or repository of the Hub; if None the adapter's base,
            or the shipped puppet weights.
        steps: solver steps per chunk.
        chunk: new frames per chunk, divisible by 4.
        guidance: scale by stream (text, speak, listen, references); the model's own where absent.
        seed: of the noise, equal for all requests.
        overlap: latent frames at the end of a chunk that the next one makes once more and fades into.
        schedule: where on the noise path guidance is on; everywhere if None.
        adapter: folder or repository of an adapter trained with ``recipes/overlay/lora.yaml``.
    """

    def __init__(
        self,
        weights: str | None = None,
        steps: int = 2,
        chunk: int = 24,
        guidance: dict[str, float] | None = None,
        seed: int = 0,
        overlap: int = 0,
        schedule: Schedule | None = None,
        adapter: str | None = None,
    ) -> None:
        super().__init__()
        self.model = load_performer(weights, adapter)
        self.steps, self.chunk, self.guidance, self.seed = steps, chunk, guidance, seed
        self.overlap, self.schedule = overlap, schedule

    def predict_step(self, batch: Batch, batch_idx: int) -> Iterator[Tensor]:
        """Return the video's pieces (B, T, 3, H, W) in [-1, 1], made as they are asked for.

        Together they are as long as ``batch.state_BT``.
        """
        return self.model.perform_chunks(
            batch,
            frames=batch.state_BT.shape[1],
            steps=self.steps,
            chunk=self.chunk,
            scales=self.guidance,
            generator=torch.Generator().manual_seed(self.seed),
            overlap=self.overlap,
            schedule=self.schedule,
        )


class Requests(LightningDataModule):
    """Requests as batches of one row.

    Args:
        requests: what to perform; all files are read before the first video is made, so that a bad one costs nothing.
        size: height and width of the videos, divisible by 16.
        fps: frames a second.
    """

    def __init__(self, requests: list[Request], size: int = 96, fps: float = 24.0) -> None:
        super().__init__()
        if not requests:
            raise ValueError("no requests; give at least one with image and output")
        self.requests, self.size, self.fps = requests, size, fps
        self.batches: list[Batch] = []

    def setup(self, stage: str) -> None:
        """Read the files of every request."""
        self.batches = [to_batch(request, self.size, self.fps) for request in self.requests]

    def predict_dataloader(self) -> DataLoader[Batch]:
        """Return the requests in order."""
        return DataLoader(self.batches, batch_size=None)  # type: ignore[arg-type]


class WriteVideos(BasePredictionWriter):
    """Write each video to the output of its request while it is made."""

    def __init__(self) -> None:
        super().__init__(write_interval="batch")

    def write_on_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        prediction: Any,
        batch_indices: Sequence[int] | None,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int,
    ) -> None:
        """Write the mp4 with the sound of both voices; it appears when it is complete."""
        pieces = within(trainer.precision_plugin.predict_step_context, prediction)
        write_video(Path(batch.meta[0]["output"]), to_frames(pieces), batch.fps, sound_of(batch))


def within(context: Callable[[], AbstractContextManager[Any]], pieces: Iterator[Piece]) -> Iterator[Piece]:
    """Yield pieces, each made inside ``context``, such as a trainer's precision."""
    while True:
        with context():
            piece = next(pieces, None)
        if piece is None:
            return
        yield piece
