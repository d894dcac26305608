"""The command `lpm data trajectories`."""

from pathlib import Path

from lpm.data import list_shards
from lpm.sample import base_puppet
from lpm.train.checkpoint import load_model
from lpm.train.device import on_device
from lpm.train.trajectories import TrajectorySettings, make_trajectories


def trajectories(
    corpus: Path,
    output: Path,
    model: Path | None = None,
    split: str = "train",
    clips: int | None = None,
    frames: int = 97,
    piece: int = 24,
    substeps: int = 4,
    scales: dict[str, float] | None = None,
    extra_references: float = 0.0,
    batch_size: int = 12,
    seed: int = 0,
    device: str = "cpu",
) -> None:
    """Let the Base model perform every clip of a corpus, and keep its way from noise as shards, to distil from.

    With a piece of one chunk trajectories are causal: each chunk is made given the clean ones before it. With a piece
    of the whole clip (frames - 1) they are bidirectional. An interrupted run goes on where it was; several on one
    folder share its shards.

    Example: `lpm data trajectories corpus trajectories --clips 64`

    Args:
        corpus: folder of `lpm data puppets`, or of shards.
        output: folder to write.
        model: checkpoint or weights folder of the teacher; the shipped puppet weights if not given.
        split: shards whose names begin so.
        clips: at most so many.
        frames: length of a clip, 1 + n times the piece.
        piece: frames that are made together, divisible by 4.
        substeps: solver steps from one of the three kept noise levels to the next.
        scales: guidance of the teacher per stream, such as '{"speak": 1.5}'; its own where absent.
        extra_references: share of clips that see body views and expressions, too.
        batch_size: clips that are generated together.
        seed: of the noise.
        device: where to generate, such as cuda.
    """
    settings = TrajectorySettings(
        frames=frames, piece=piece, substeps=substeps, scales=scales, extra_references=extra_references,
        batch_size=batch_size, clips=clips, seed=seed,
    )  # fmt: skip
    folder = corpus / "shards" if (corpus / "shards").is_dir() else corpus
    shards = list_shards(folder, f"{split}-" if split else "")
    teacher = base_puppet() if model is None else load_model(model)
    summary = make_trajectories(on_device(teacher, device), shards, output, settings)
    dropped = "".join(f", {count} dropped ({reason})" for reason, count in summary["dropped"].items())
    print(f"{summary['trajectories']} trajectories in {output}{dropped}")
