"""What happens around training: the spec in the checkpoint, and the report at the end."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.cli import SaveConfigCallback
from lightning.pytorch.loggers import TensorBoardLogger
from torch.utils.data import DataLoader

from lpm.data.video import write_video
from lpm.sample import PerformanceModel
from lpm.train.frames import strip, to_uint8
from lpm.train.measure import Report, measure, performers
from lpm.train.request import sound_of
from lpm.types import Batch


class StoreSpec(SaveConfigCallback):
    """Save the recipe beside the run, and the model's spec in every checkpoint, from which ``lpm.build`` rebuilds
    it.
    """

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Store the spec under ``spec``."""
        config = json.loads(self.parser.dump(self.config, format="json", skip_check=True))
        checkpoint["spec"] = config["model"]


class PerformanceReport(Callback):
    """Measure the model on held-out clips when training ends; print a table, write figures, videos and strips.

    The first process measures all of them, where the model is. Needs a data module with
    ``performance_loaders(sets) -> dict[str, DataLoader]`` of clips with pixels and truth, such as ``PuppetData``, the
    same for every process; clips without truth, as of ``ShardData``, are performed and shown, not measured. Writes
    ``performance.json`` and ``media/*.mp4, *.png`` into the logger's folder and scalars and strips to TensorBoard.
    ``lightning test`` measures the test split the same way.

    Args:
        steps: solver steps.
        chunk: new frames per generated chunk.
        videos: clips per set that are kept as mp4 with sound.
        seed: of the sampling noise.
    """

    def __init__(self, steps: int = 2, chunk: int = 24, videos: int = 4, seed: int = 0) -> None:
        self.steps, self.chunk, self.videos, self.seed = steps, chunk, videos, seed

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure, show and store."""
        if trainer.state.status != "interrupted":
            self.measure_sets(trainer, pl_module, trainer.datamodule.performance_loaders())  # type: ignore[attr-defined]

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure, show and store the test split."""
        self.measure_sets(trainer, pl_module, trainer.datamodule.performance_loaders({"test": "test"}))  # type: ignore[attr-defined]

    def measure_sets(self, trainer: Trainer, pl_module: LightningModule, sets: dict[str, DataLoader[Batch]]) -> None:
        """Measure every set on the first process."""
        folder = run_folder(trainer)
        if not trainer.is_global_zero:
            return
        pl_module.eval()
        model = model_of(pl_module)
        results = {}
        for name, loader in sets.items():
            first = next(brought(pl_module, loader))
            self.save_media(trainer, pl_module, first, folder / "media", name)
            if "aperture" not in first.truth:
                print(f"{name}: not measured, clips have no ground truth; videos and strip in {folder / 'media'}")
                continue
            from lpm.data.puppets import read

            clips = brought(pl_module, loader)
            report = measure(model, clips, read, steps=self.steps, chunk=self.chunk, seed=self.seed)
            results[name] = report.as_dict()
            print_report(name, report)
            log_report(trainer, name, report)
        if results:
            write_json(folder / "performance.json", results)
            print(f"figures in {folder / 'performance.json'}, videos and strips in {folder / 'media'}")

    def save_media(self, trainer: Trainer, pl_module: LightningModule, batch: Batch, folder: Path, name: str) -> None:
        """Write the first clips of a set as mp4 with sound, and one strip: truth above what was generated."""
        folder.mkdir(parents=True, exist_ok=True)
        assert batch.video_BTCHW is not None
        truth = to_uint8(batch.video_BTCHW)
        model, source = model_of(pl_module), "generated"
        made = to_uint8(performers(model, [source], self.steps, self.chunk, self.seed)[source](batch))
        rows = []
        for row in range(min(self.videos, len(batch.keys))):
            both = np.concatenate([truth[row], made[row]], axis=2)
            write_video(folder / f"{name}-{batch.keys[row]}.mp4", both, batch.fps, sound_of(batch, row))
            rows += [truth[row], made[row]]
        picture = strip(rows)
        from PIL import Image

        Image.fromarray(picture).save(folder / f"{name}.png")
        if isinstance(trainer.logger, TensorBoardLogger):
            trainer.logger.experiment.add_image(f"{name}/strip", picture, trainer.global_step, dataformats="HWC")


def run_folder(trainer: Trainer) -> Path:
    """Return where a run writes; every process has to ask, since the first one tells the others."""
    return Path(trainer.log_dir or trainer.default_root_dir)


def brought(module: LightningModule, batches: Iterable[Batch]) -> Iterator[Batch]:
    """Yield batches on the device of a module, as Lightning brings those of its own loaders."""
    for batch in batches:
        yield module.transfer_batch_to_device(batch, module.device, 0)


def model_of(module: LightningModule) -> PerformanceModel:
    """Return the performance model that a training module trains."""
    if not isinstance(module.model, PerformanceModel):
        raise ValueError(f"{type(module).__name__} trains no PerformanceModel; remove the performance report")
    return module.model


def print_report(name: str, report: Report) -> None:
    """Print one table: a row per metric, a column per source, value and 95 % interval."""
    from rich.console import Console
    from rich.table import Table

    sources = list(dict.fromkeys(source for by in report.scores.values() for source in by))
    table = Table("metric", *sources, title=f"{name}: {report.clips} clips, {report.seconds:.0f} s")
    for metric, by in report.scores.items():
        cells = [
            f"{float(by[source].value):.3f} [{float(by[source].low):.3f}, {float(by[source].high):.3f}]"
            if source in by
            else ""
            for source in sources
        ]
        table.add_row(metric, *cells)
    Console(width=120).print(table)


def log_report(trainer: Trainer, name: str, report: Report) -> None:
    """Log every value as a scalar ``performance/<set>/<metric>/<source>``."""
    if trainer.logger is not None:
        scalars = {
            f"performance/{name}/{metric}/{source}": float(estimate.value)
            for metric, by in report.scores.items()
            for source, estimate in by.items()
        }
        trainer.logger.log_metrics(scalars, step=trainer.global_step)


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a JSON file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(json.dumps(content, indent=1))
    part.replace(path)
