"""The numbers on a corpus card: one row per clip, written by the workers, summed by split."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from lpm.data.puppets.controls import COLUMN

APERTURE_EDGES = np.linspace(0.0, 1.0, 21)
YAW_EDGES = np.linspace(-45.0, 45.0, 31)
LAG_EDGES = np.linspace(0.0, 2.0, 21)  # seconds from the partner's event to the listener's reaction


def row_path(folder: Path, job: dict[str, Any]) -> Path:
    """Return where the rows of a job's file are kept."""
    return folder / "rows" / f"{Path(job['file']).stem}.json"


def describe(meta: dict[str, Any], controls_TK: np.ndarray, sentences: list[str], lags: list[float]) -> dict[str, Any]:
    """Return the row of one clip from its metadata, its controls, the sentences it says and its reaction lags."""
    states: Counter[str] = Counter()
    for start, end, label in meta["states"]:
        states[label] += end - start
    speaking = np.zeros(meta["frames"], bool)
    for start, end, label in meta["states"]:
        speaking[start:end] = label == "speaking"
    return {
        "key": meta["key"],
        "split": meta["split"],
        "identity": meta["identity"],
        "frames": meta["frames"],
        "seconds": meta["frames"] / meta["fps"],
        "states": dict(states),
        "references": dict(Counter(reference["kind"] for reference in meta["references"])),
        "sentences": sentences,
        "lags": [round(lag, 3) for lag in lags],
        "aperture": histogram(controls_TK[speaking, COLUMN["aperture"]], APERTURE_EDGES),
        "yaw": histogram(controls_TK[:, COLUMN["yaw"]], YAW_EDGES),
        **{name: meta["tags"][name] for name in ("kind", "style", "voice", "language", "emotion")},
    }


def histogram(values: np.ndarray, edges: np.ndarray) -> list[int]:
    """Count values between edges; what lies outside falls into the first or last bin."""
    counts, _ = np.histogram(np.clip(values, edges[0], edges[-1]), edges)
    return [int(count) for count in counts]


def summarise(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Sum the rows of a split (or of the whole corpus) into the figures of a card."""
    states: Counter[str] = Counter()
    references: Counter[str] = Counter()
    for row in rows:
        states.update(row["states"])
        references.update(row["references"])
    frames = sum(row["frames"] for row in rows)
    names = ("kind", "style", "language", "emotion")
    lags = np.array([lag for row in rows for lag in row["lags"]])
    return {
        "clips": len(rows),
        "frames": frames,
        "hours": round(sum(row["seconds"] for row in rows) / 3600, 4),
        "identities": len({row["identity"] for row in rows}),
        "voices": len({row["voice"] for row in rows}),
        "sentences": len({sentence for row in rows for sentence in row["sentences"]}),
        "state_shares": {label: round(count / max(frames, 1), 4) for label, count in sorted(states.items())},
        "references": dict(sorted(references.items())),
        **{f"{name}s": dict(sorted(Counter(row[name] for row in rows).items())) for name in names},
        "reactions": {"count": len(lags), "median_s": round(float(np.median(lags)), 3) if len(lags) else None},
        "aperture": np.sum([row["aperture"] for row in rows], 0).tolist(),
        "yaw": np.sum([row["yaw"] for row in rows], 0).tolist(),
        "lags": histogram(lags, LAG_EDGES),
    }
