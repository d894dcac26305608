"""Trajectories of a teacher as shards: every clip of a corpus performed once, the points on its way from noise kept."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock
from lightning.fabric.utilities.apply_func import move_data_to_device
from torch import Tensor

from lpm.data import Clip, Cut, Pixels, Sample, Shard, collate, draw_references, first_start, read_shard, write_index
from lpm.data.stages import Counts, apply, valid
from lpm.distill import record_trajectories
from lpm.sample import PerformanceModel, noise_levels
from lpm.train.callbacks import write_json
from lpm.train.data import only_global
from lpm.train.encode import tensors_hash, write_shard
from lpm.train.frames import to_uint8
from lpm.train.missing import make_missing, row_path, share
from lpm.train.pairs import claim, groups, guided, half, performed_sample, place
from lpm.types import Batch

TRAJECTORIES_VERSION = "1"  # raise when the same settings would give other trajectories


@dataclass(frozen=True)
class TrajectorySettings:
    """How a teacher's trajectories are made; see ``lpm.distill.record_trajectories``.

    Attributes:
        frames: length of a clip, 1 + 4k.
        piece: frames that are made together: one chunk of the student for causal trajectories, ``frames - 1`` for
            bidirectional ones.
        points: noise levels that are kept, without 0.
        substeps: solver steps from one kept level to the next.
        keep: latent frames that the teacher sees of the piece before.
        scales: guidance of the teacher per stream, in place of its own.
        extra_references: share of clips that see body views and expressions beside the global reference, as many of
            theirs as chance takes.
        history: seconds of audio before a clip.
        lookahead: seconds of audio after it.
        batch_size: clips that are generated together.
        clips: at most so many, in the corpus's order; all if None.
        seed: of the noise.
    """

    frames: int = 97
    piece: int = 24
    points: int = 3
    substeps: int = 4
    keep: int = 2
    scales: dict[str, float] | None = None
    extra_references: float = 0.0
    history: float = 2.6
    lookahead: float = 0.2
    batch_size: int = 12
    clips: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        least = {"frames": 5, "piece": 4, "points": 1, "substeps": 1, "keep": 1, "batch_size": 1, "clips": 1, "seed": 0}
        for name, limit in least.items():
            value = getattr(self, name)
            if value is not None and value < limit:
                raise ValueError(f"{name} of {value} is below {limit}; raise it")
        if not 0 <= self.extra_references <= 1:
            raise ValueError(f"extra_references of {self.extra_references} is no share; choose one from 0 to 1")
        if self.piece % 4:
            raise ValueError(f"piece of {self.piece} frames is not a multiple of 4; choose {self.piece // 4 * 4}")
        if (self.frames - 1) % self.piece:
            fits = 1 + self.piece * max(1, (self.frames - 1) // self.piece)
            raise ValueError(f"{self.frames} frames are not 1 + {self.piece} n; choose {fits} or another piece")

    def references(self, sample: Sample) -> list[int]:
        """Return the rows of the references that a sample's clip sees, drawn from the seed and its key alone."""
        rng = np.random.default_rng(place(self.seed, sample["__key__"]))
        return draw_references(sample["json"].get("references", []), rng, self.extra_references)

    @property
    def cut(self) -> Cut:
        """The beginning of a sample, with the global reference."""
        return Cut(
            self.frames,
            [Pixels()],
            start=first_start,
            references=only_global,
            history=self.history,
            lookahead=self.lookahead,
        )


def make_trajectories(
    teacher: PerformanceModel, shards: Sequence[Shard], folder: Path, settings: TrajectorySettings | None = None
) -> dict[str, Any]:
    """Make one shard of trajectories for every shard of clips, with a progress bar, and return the summary.

    ``folder`` gets the shards, each beside a ``.json`` row, ``index.json``, ``trajectories.json`` (what made them) and
    ``summary.json``. A killed run goes on with the first shard without a row, and
    several processes on one folder share the shards; either ends in the same bytes: noise depends on the settings and
    the place of a clip alone.

    Args:
        teacher: what performs; on the device on which it should.
        shards: clips whose audio, prompt, first frame and references are the conditions.
        folder: where to write; made if missing.
        settings: ``TrajectorySettings()`` if None.

    Raises:
        ValueError: the folder holds trajectories made otherwise, or no clip could be used (counted by reason).
    """
    settings, folder = settings or TrajectorySettings(), Path(folder)
    jobs = share(shards, settings.clips)
    claim(folder, origin(teacher, shards, settings), "trajectories")
    teacher.eval()
    make_missing(
        folder, jobs, lambda shard, count: make_shard(teacher, shard, count, folder, settings), "trajectories", "clips"
    )
    with FileLock(folder / ".lock"):
        if any(folder.glob("*.tar")):
            write_index(folder)
        summary = summarise([json.loads(row_path(folder, shard).read_text()) for shard, _ in jobs])
        write_json(folder / "summary.json", summary)
    if not summary["trajectories"]:
        raise ValueError(
            f"no trajectory from {summary['samples']} clips (dropped {summary['dropped']}); shorten frames"
        )
    return summary


def check_made(folder: Path, teacher: PerformanceModel, settings: TrajectorySettings) -> None:
    """Raise ValueError unless a folder's trajectories are this teacher's with these settings, of whatever clips."""
    found, wanted = json.loads((folder / "trajectories.json").read_text()), origin(teacher, (), settings)
    made = found.get("settings", {})
    other = [f"{name} {made.get(name)}" for name, value in wanted["settings"].items() if made.get(name) != value]
    if other:
        raise ValueError(f"{folder} holds trajectories made with {', '.join(other)}; set the same in settings")
    if any(found.get(name) != wanted[name] for name in ("version", "model")):
        raise ValueError(f"{folder} holds trajectories of another teacher; give that one, or make them again")


def make_shard(teacher: PerformanceModel, shard: Shard, count: int, folder: Path, settings: TrajectorySettings) -> None:
    """Write the trajectories of one shard of clips, then its row; the row says that both are complete."""
    path, counts = folder / Path(shard.path).name, Counts()
    samples = [sample for sample, _ in zip(read_shard(shard.path), range(count))]
    clips = list(apply(valid(samples, counts), lambda sample: (sample, cut_condition(sample, settings)), counts))

    def trajectories() -> Iterator[Sample]:
        for first, group in groups(clips, settings.batch_size):
            batch = move_data_to_device(collate([clip for _, clip in group]), teacher.device)
            seed = place(settings.seed, path.name, first)
            points, video = perform_points(teacher, batch, settings, seed)
            for row, (sample, _) in enumerate(group):
                yield trajectory_sample(teacher, sample, batch, row, points, video, settings)

    made = write_shard(trajectories(), path)
    row = {"samples": len(samples), "trajectories": made, "dropped": dict(counts.dropped)}
    write_json(row_path(folder, shard), row)


def cut_condition(sample: Sample, settings: TrajectorySettings) -> Clip:
    """Return a sample's condition: its first picture, its sound, and the references that it sees."""
    cut = replace(settings.cut, references=lambda rows, rng: settings.references(sample))
    clip = cut(sample, np.random.default_rng(0))  # nothing else is left to chance
    assert clip.video_THWC is not None
    return replace(clip, video_THWC=clip.video_THWC[:1].copy())  # of a whole shard, the rest would fill the memory


@torch.no_grad()
def perform_points(
    teacher: PerformanceModel, batch: Batch, settings: TrajectorySettings, seed: int
) -> tuple[Tensor, np.ndarray]:
    """Return the points (B, S, T', C, Y, X) of a batch, and the video (B, T, H, W, 3) at their end."""
    points = record_trajectories(
        teacher,
        batch,
        settings.frames,
        settings.piece,
        settings.points,
        settings.substeps,
        settings.keep,
        settings.scales,
        torch.Generator().manual_seed(seed),
    )
    return points, to_uint8(teacher.codec.decode(points[:, -1]).clamp(-1, 1))


def trajectory_sample(
    teacher: PerformanceModel,
    sample: Sample,
    batch: Batch,
    row: int,
    points: Tensor,
    video: np.ndarray,
    settings: TrajectorySettings,
) -> Sample:
    """Return the sample of a trajectory: the condition, the performance, and the points that led to it."""
    performed = performed_sample(teacher, sample, batch, row, video[row], settings.references(sample))
    about = {"levels": noise_levels(settings.points, teacher.shift), "piece": settings.piece}
    return {
        **performed,
        "trajectory.npy": half(points[row]),
        "json": {**performed["json"], "trajectory": about},
    }


def summarise(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the totals of all shards."""
    totals: dict[str, Any] = {name: sum(row[name] for row in rows) for name in ("samples", "trajectories")}
    totals["dropped"] = dict(sum((Counter(row["dropped"]) for row in rows), Counter()))
    return totals


def origin(teacher: PerformanceModel, shards: Sequence[Shard], settings: TrajectorySettings) -> dict[str, Any]:
    """Return everything that decides the trajectories."""
    return {
        "version": TRAJECTORIES_VERSION,
        "model": {"tensors": tensors_hash(teacher.state_dict()), "shift": teacher.shift, **guided(teacher)},
        "clips": {Path(shard.path).name: shard.sha256 for shard in shards},
        "settings": asdict(settings),
    }
