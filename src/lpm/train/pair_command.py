"""The command `lpm data pairs`."""

from pathlib import Path

from rich.console import Console
from rich.table import Table

from lpm.data import list_shards
from lpm.preference import Scorer
from lpm.sample import base_puppet
from lpm.train.checkpoint import load_model
from lpm.train.device import on_device
from lpm.train.pairs import PairSettings, make_pairs


def pairs(
    corpus: Path,
    output: Path,
    model: Path | None = None,
    split: str = "train",
    scorers: list[Scorer] | None = None,
    conditions: int | None = None,
    candidates: int = 4,
    frames: int = 97,
    steps: int = 2,
    chunk: int = 24,
    batch_size: int = 12,
    guidance: list[dict[str, float]] | None = None,
    seed: int = 0,
    device: str = "cpu",
) -> None:
    """Make pairs of preference: perform every clip of a corpus from several seeds, judge, keep the best pair as shards.

    A clip without two candidates of which one is better in something and worse in nothing gives no pair and is counted.
    An interrupted run goes on where it was; several on one folder share its shards.

    Example: `lpm data pairs corpus pairs --candidates 6`

    Args:
        corpus: folder of `lpm data puppets`, or of shards.
        output: folder to write.
        model: checkpoint or weights folder; the shipped puppet weights if not given.
        split: shards whose names begin so.
        scorers: judges as a list of class_path; `lpm.preference.PuppetScorer` if not given.
        conditions: at most so many clips.
        candidates: seeds per clip.
        frames: length of a candidate, 1 + 4k.
        steps: solver steps.
        chunk: new frames per generated chunk, divisible by 4.
        batch_size: clips that are generated together.
        guidance: scales by stream with each of which every seed is performed, such as `'[{}, {"speak": 1}]'`: the
            model's own, and none of the voice; the model's own if not given.
        seed: of the noise.
        device: where to generate, such as cuda.
    """
    settings = PairSettings(
        candidates=candidates, frames=frames, steps=steps, chunk=chunk, batch_size=batch_size, conditions=conditions,
        guidance=guidance, seed=seed,
    )  # fmt: skip
    folder = corpus / "shards" if (corpus / "shards").is_dir() else corpus
    shards = list_shards(folder, f"{split}-" if split else "")
    performer = base_puppet() if model is None else load_model(model)
    summary = make_pairs(on_device(performer, device), shards, output, scorers, settings)
    table = Table("", "clips", title=f"pairs in {output}")
    table.add_row("pairs", str(summary["pairs"]))
    for kind in ("skipped", "dropped"):
        for reason, count in summary[kind].items():
            table.add_row(f"{kind}: {reason}", str(count))
    Console().print(table)
