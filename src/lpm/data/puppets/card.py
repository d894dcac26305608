"""The corpus card: what is in a corpus, as `card.json` for programs and `card.md` with plots for people."""

from __future__ import annotations

import io
import json
import tarfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from lpm.data.puppets.plan import SPLITS, CorpusSpec, plan_corpus, spec_hash
from lpm.data.puppets.summary import APERTURE_EDGES, LAG_EDGES, YAW_EDGES, summarise
from lpm.data.video import read_video

SHEET_PEOPLE = 12
SHEET_FRAMES = 8


def write_card(folder: Path, spec: CorpusSpec) -> None:
    """Write `card/*.png`, `card.md` and, last, `card.json` from the rows that the workers left."""
    shards = plan_corpus(spec)
    stored = [folder / "rows" / f"{shard.name}.json" for shard in shards]
    rows = [row for path in stored for row in json.loads(path.read_text())["clips"]]
    by_split = {split: summarise([row for row in rows if row["split"] == split]) for split in SPLITS}
    card = {"spec": asdict(spec), "hash": spec_hash(spec), "total": summarise(rows), "splits": by_split}
    (folder / "card").mkdir(exist_ok=True)
    plot(folder / "card" / "statistics.png", card)
    contact_sheet(folder / "shards" / f"{shards[0].name}.tar").save(folder / "card" / "characters.png")
    (folder / "card.md").write_text(markdown(card))
    (folder / "card.json").write_text(json.dumps(card, indent=1))


def markdown(card: dict[str, Any]) -> str:
    """Return the card as Markdown: a table of splits, shares and the two pictures."""
    names = ("clips", "frames", "hours", "identities", "voices", "sentences")
    columns = {"all": card["total"], **card["splits"]}
    counts = ("kinds", "styles", "languages", "state_shares", "emotions", "references")
    lines = ["# Puppet corpus", ""]
    lines += ["Drawn characters with synthesised speech; licence CC0-1.0; every frame has ground truth.", ""]
    lines += ["| | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    lines += [f"| {name} | " + " | ".join(str(column[name]) for column in columns.values()) + " |" for name in names]
    lines += ["", *(f"- {name.replace('_', ' ')}: {listing(card['total'][name])}" for name in counts)]
    reactions = card["total"]["reactions"]
    lines += [f"- listener reactions: {reactions['count']}, median lag {reactions['median_s']} s", ""]
    lines += ["Identities of train, val and test are disjoint; `seen` shows train identities in new sentences.", ""]
    lines += ["![statistics](card/statistics.png)", "", "![characters](card/characters.png)", ""]
    lines += ["Built with:", "", "```json", json.dumps(card["spec"], indent=1), "```", ""]
    return "\n".join(lines)


def listing(counts: dict[str, float]) -> str:
    """Return `a 3, b 1`, the most frequent first."""
    return ", ".join(f"{name} {value}" for name, value in sorted(counts.items(), key=lambda item: -item[1]))


def plot(path: Path, card: dict[str, Any]) -> None:
    """Draw aperture, yaw and reaction lags as histograms, and the shares of states by split."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError('the corpus card needs matplotlib: pip install "lpm[puppets]"') from error
    figure = Figure(figsize=(12, 2.8), layout="constrained")
    axes = figure.subplots(1, 4)
    total = card["total"]
    for axis, (name, edges, label) in zip(
        axes,
        [
            ("aperture", APERTURE_EDGES, "mouth aperture while speaking"),
            ("yaw", YAW_EDGES, "head yaw [degrees]"),
            ("lags", LAG_EDGES, "reaction lag [s]"),
        ],
        strict=False,
    ):
        axis.stairs(total[name], edges, fill=True, color="#5577aa")
        axis.set(xlabel=label, yticks=[])
    bottom = np.zeros(len(card["splits"]))
    for label, color in (("speaking", "#d9825b"), ("listening", "#5577aa"), ("idle", "#bbbbbb")):
        shares = np.array([summary["state_shares"].get(label, 0.0) for summary in card["splits"].values()])
        axes[3].bar(list(card["splits"]), shares, bottom=bottom, color=color, label=label)
        bottom += shares
    axes[3].legend(fontsize=7, loc="lower right")
    figure.savefig(path, dpi=100)


def contact_sheet(shard: Path) -> Image.Image:
    """Return one row per clip of a shard: its references' first image, then frames evenly spaced in time."""
    rows: list[np.ndarray] = []
    with tarfile.open(shard) as tar:
        for member in tar:
            if member.name.endswith(".mp4") and len(rows) < SHEET_PEOPLE:
                rows.append(strip(read(tar, member.name), read(tar, member.name.replace(".mp4", ".ref.00.png"))))
    return Image.fromarray(np.concatenate(rows, axis=0))


def read(tar: tarfile.TarFile, name: str) -> bytes:
    """Return the bytes of a member."""
    file = tar.extractfile(name)
    if file is None:
        raise ValueError(f"{tar.name!r} has no file {name}; rebuild the shard")
    return file.read()


def strip(mp4: bytes, reference: bytes) -> np.ndarray:
    """Return the reference and `SHEET_FRAMES` frames side by side."""
    video_THWC, _ = read_video(mp4)
    picks = np.linspace(0, len(video_THWC) - 1, SHEET_FRAMES).astype(int)
    return np.concatenate([np.asarray(Image.open(io.BytesIO(reference)).convert("RGB")), *video_THWC[picks]], axis=1)
