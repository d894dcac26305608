"""What preference tuning has changed: scores before and after on the same clips and noise, paired differences."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from rich.console import Console
from rich.table import Table
from torch import Tensor

from lpm.metric import Estimate, estimate
from lpm.metric.clips import identity_code
from lpm.preference import PuppetScorer, Scorer, score
from lpm.sample.performance import PerformanceModel
from lpm.train.callbacks import brought, run_folder, write_json
from lpm.train.frames import to_uint8
from lpm.train.pairs import candidate_of
from lpm.train.preference import PreferenceTraining
from lpm.types import Batch

LEAST = 5


class Change(NamedTuple):
    """One dimension of score: means before and after, and the mean of the clips' differences, each with its 95 %
    interval; higher is better.
    """

    before: Estimate
    after: Estimate
    difference: Estimate

    @property
    def verdict(self) -> str:
        """``better`` or ``worse`` where the interval of the difference excludes zero, else ``same``; ``too few`` below
        five clips.
        """
        if int(self.difference.n) < LEAST:
            return "too few"
        if float(self.difference.low) > 0:
            return "better"
        return "worse" if float(self.difference.high) < 0 else "same"

    def as_dict(self) -> dict[str, Any]:
        """Return plain numbers and the verdict."""
        rows = {name: {key: float(x) for key, x in part._asdict().items()} for name, part in self._asdict().items()}
        return {**rows, "verdict": self.verdict}


@torch.no_grad()
def compare(
    before: Callable[[], AbstractContextManager[PerformanceModel]],
    after: PerformanceModel,
    batches: Iterable[Batch],
    scorers: Sequence[Scorer],
    steps: int = 2,
    chunk: int = 24,
    seeds: Sequence[int] = (0, 1),
) -> dict[str, Change]:
    """Perform every clip with both models from the same noise and return the change of each score.

    ``before`` opens a context with the model as it was, such as a ``Reference``'s ``use``. That may be ``after`` with
    its adapters off, so the context is closed before ``after`` performs. A clip's score is the mean over the seeds;
    intervals resample identities (``lpm.metric.estimate``).
    """
    rows: dict[str, list[tuple[float, float, int]]] = {}
    for batch in batches:
        with before() as model:
            old = score_batch(model, batch, scorers, steps, chunk, seeds)
        new = score_batch(after, batch, scorers, steps, chunk, seeds)
        for meta, was, now in zip(batch.meta, old, new, strict=True):
            for name in was:
                rows.setdefault(name, []).append((was[name], now[name], identity_code(meta["identity"])))
    if not rows:
        raise ValueError("no clip to compare; give a split with at least one clip")
    return {name: change(torch.tensor(values, dtype=torch.float64)) for name, values in rows.items()}


def score_batch(
    model: PerformanceModel, batch: Batch, scorers: Sequence[Scorer], steps: int, chunk: int, seeds: Sequence[int]
) -> list[dict[str, float]]:
    """Return the scores of each clip, averaged over the seeds."""
    videos = [
        to_uint8(model.perform(batch, steps=steps, chunk=chunk, generator=torch.Generator().manual_seed(seed)))
        for seed in seeds
    ]
    scored = [
        [score(scorers, candidate_of(batch, row, video[row])) for video in videos] for row in range(len(batch.keys))
    ]
    return [{name: sum(one[name] for one in clip) / len(clip) for name in clip[0]} for clip in scored]


def change(rows_N3: Tensor) -> Change:
    """Return the change of (before, after, identity code) rows; clips that have no number on one side count in
    neither.
    """
    was, now, codes = rows_N3.unbind(1)
    both = was.isfinite() & now.isfinite()
    nan = torch.tensor(float("nan"), dtype=torch.float64)
    columns = (torch.where(both, column, nan) for column in (was, now, now - was))
    return Change(*(estimate(column, codes.long()) for column in columns))


class PreferenceReport(Callback):
    """Compare the tuned model with the reference on held-out clips when training ends.

    The first process compares them all. Needs a data module with ``performance_loaders() -> dict[str, DataLoader]`` of
    clips with pixels, the same for every process. Prints a table per set, and writes ``preference.json`` into the
    logger's folder.

    Args:
        scorers: judges; ``PuppetScorer()`` if None.
        steps: solver steps.
        chunk: new frames per generated chunk.
        seeds: how many noises each clip is performed from.
        seed: of the first.
    """

    def __init__(
        self,
        scorers: list[Scorer] | None = None,
        steps: int = 2,
        chunk: int = 24,
        seeds: int = 2,
        seed: int = 0,
    ) -> None:
        if seeds < 1:
            raise ValueError(f"seeds of {seeds} is below 1; give 1 or more")
        self.scorers: list[Scorer] = [PuppetScorer()] if scorers is None else scorers
        self.steps, self.chunk, self.seeds, self.seed = steps, chunk, seeds, seed

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Compare, show and store."""
        folder = run_folder(trainer)
        if not trainer.is_global_zero or trainer.state.status == "interrupted":
            return
        if not isinstance(pl_module, PreferenceTraining):
            raise ValueError(f"{type(pl_module).__name__} tunes no preferences; remove the preference report")
        pl_module.eval()
        seeds, results = range(self.seed, self.seed + self.seeds), {}
        for name, loader in trainer.datamodule.performance_loaders().items():  # type: ignore[attr-defined]
            clips = brought(pl_module, loader)
            found = compare(
                pl_module.reference.use, pl_module.model, clips, self.scorers, self.steps, self.chunk, seeds
            )
            print_changes(name, found)
            results[name] = {dimension: row.as_dict() for dimension, row in found.items()}
        write_json(folder / "preference.json", results)
        print(f"figures in {folder / 'preference.json'}")


def print_changes(name: str, changes: dict[str, Change]) -> None:
    """Print one table: a row per dimension, value and 95 % interval."""
    table = Table("score", "clips", "before", "after", "difference", "", title=f"{name} (higher is better)")
    for dimension, row in changes.items():
        cells = [f"{float(e.value):.3f} [{float(e.low):.3f}, {float(e.high):.3f}]" for e in row]
        table.add_row(dimension, str(int(row.difference.n)), *cells, row.verdict)
    Console(width=120).print(table)
