"""Frames a second that one core draws, per size and style; prints one JSON object.

OMP_NUM_THREADS=1 python benchmarks/puppets.py > benchmarks/results/puppets.json
"""

from __future__ import annotations

import json
import platform
import statistics
import sys
import time
from pathlib import Path

import cv2
import numpy as np

from lpm.data.puppets.controls import COLUMN, neutral
from lpm.data.puppets.draw import VIEWS, Puppet
from lpm.data.puppets.identity import sample_identity
from lpm.data.puppets.style import STYLES

SIZES = (64, 96, 128, 256)
IDENTITIES, FRAMES, REPEATS = 4, 96, 3


def main() -> None:
    """Measure every size in the clean style, every style and view at 96 pixels."""
    rates = [_measure(size, "clean", "front") for size in SIZES]
    rates += [_measure(96, style, "front") for style in STYLES if style != "clean"]
    rates += [_measure(96, "clean", view) for view in VIEWS if view != "front"]
    report = {
        "benchmark": "puppets",
        "hardware": {"processor": _processor(), "cores_used": 1},
        "versions": {"python": platform.python_version(), "numpy": np.__version__, "opencv": cv2.__version__},
        "unit": "frames per second of processor time, median of repeats",
        "identities": IDENTITIES,
        "frames": FRAMES,
        "repeats": REPEATS,
        "results": rates,
    }
    json.dump(report, sys.stdout, indent=1)
    sys.stdout.write("\n")


def _measure(size: int, style: str, view: str) -> dict[str, object]:
    controls = _motion(FRAMES)
    puppets = [Puppet(sample_identity(seed), size, style) for seed in range(IDENTITIES)]
    rates = []
    for _ in range(REPEATS):
        start = time.process_time()
        for puppet in puppets:
            puppet.render(controls, view)
        rates.append(IDENTITIES * FRAMES / (time.process_time() - start))
    return {
        "size": size,
        "style": style,
        "view": view,
        "frames_per_second": round(statistics.median(rates), 1),
        "slowest": round(min(rates), 1),
        "fastest": round(max(rates), 1),
    }


def _motion(frames: int) -> np.ndarray:
    """Return a talking, nodding head (frames, K), the same in every run."""
    controls, time_T = neutral(frames), np.arange(frames) / 24
    for name, size, rate in (
        ("yaw", 25, 0.3),
        ("pitch", 12, 0.5),
        ("roll", 8, 0.2),
        ("gaze_x", 0.8, 0.7),
        ("smile", 0.6, 0.4),
    ):
        controls[:, COLUMN[name]] = size * np.sin(2 * np.pi * rate * time_T)
    controls[:, COLUMN["aperture"]] = 0.5 - 0.5 * np.cos(2 * np.pi * 4 * time_T)
    return controls


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
