"""Measure the pixel reader against ground truth: ``python benchmarks/reader.py`` writes results/reader.json and .md.

Held-out identities perform held-out sentences with free head motion; every clip is read raw and after what happens to
generated video: H.264 at two qualities and the codec's round trip. Intervals are 95 % bootstraps over identities.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from lpm.data.puppets.controls import COLUMN
from lpm.data.puppets.draw import Puppet
from lpm.data.puppets.identity import sample_identity
from lpm.data.puppets.perform import perform
from lpm.data.puppets.reader import Signals, read
from lpm.data.video import encode_video, read_video
from lpm.metric import IdentityVerification
from lpm.metric.statistics import resample_counts

RESULTS = Path(__file__).parent / "results"
HELD_OUT = 700_000_000  # first seed of the identities and scenes; training uses seeds from 1,000,000,000
FPS = 24.0
KINDS = ("speak", "conversation", "listen", "speak")
SIGNALS = ("aperture", "yaw", "pitch", "blink", "roll", "width", "gaze_x", "gaze_y", "smile", "brow")
STILL = {"aperture": 0.02, "width": 0.02, "yaw": 0.3, "pitch": 0.3, "roll": 0.3}
Degrade = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Clip:
    """One held-out performance: who, its controls, and how it is drawn."""

    seed: int
    controls: np.ndarray
    framing: float
    style: str
    size: int

    @cached_property
    def video(self) -> np.ndarray:
        """Return the drawn frames."""
        puppet = Puppet(sample_identity(self.seed), size=self.size, style=self.style, framing=self.framing)
        return puppet.render(self.controls)

    @cached_property
    def reference(self) -> np.ndarray:
        """Return one picture of the character in another framing, looking almost ahead."""
        calm = self.controls[-1:] * 0.3
        return Puppet(sample_identity(self.seed), size=self.size, style=self.style, framing=1.1).render(calm)


def held_out_clips(count: int, framing: float, style: str, size: int, motion: float, frames: int = 97) -> list[Clip]:
    """Return one clip of each of ``count`` identities."""
    clips = []
    for index in range(count):
        seed = HELD_OUT + index
        scene = perform(seed, frames / FPS + 1, FPS, KINDS[index % len(KINDS)], motion, split="test")
        clips.append(Clip(seed, scene.people[0].controls[-frames:], framing, style, size))
    return clips


def through_h264(crf: int) -> Degrade:
    """Return a function that stores a video as H.264 and reads it back."""
    return lambda video: read_video(encode_video(video, FPS, crf=crf))[0]


def through_codec() -> Degrade:
    """Return a function that encodes a video with the shipped codec and decodes it."""
    from lpm.codec import tiny_codec

    codec = tiny_codec().eval()

    def round_trip(video: np.ndarray) -> np.ndarray:
        frames = torch.from_numpy(video).permute(0, 3, 1, 2)[None].float() / 127.5 - 1
        with torch.inference_mode():
            back = codec.decode(codec.encode(frames))[0]
        return ((back + 1) * 127.5).round().clamp(0, 255).byte().permute(0, 2, 3, 1).numpy()

    return round_trip


def truth(clip: Clip, name: str) -> np.ndarray:
    """Return the true signal of a clip; blink is the mean of both eyes."""
    names = ("blink_l", "blink_r") if name == "blink" else (name,)
    return clip.controls[:, [COLUMN[n] for n in names]].mean(1)


def compare(clips: list[Clip], signals: list[Signals], name: str, seed: int) -> dict[str, float]:
    """Return correlation with interval, bias and sd of the error, and the mean correlation inside clips that move."""
    true, seen = [truth(c, name) for c in clips], [getattr(s, name) for s in signals]
    sums = np.array([moments(t, s) for t, s in zip(true, seen, strict=True)])
    resampled = correlation(resample_counts(len(clips), 2000, seed).numpy() @ sums)
    error = np.concatenate(seen) - np.concatenate(true)
    moving = [np.corrcoef(t, s)[0, 1] for t, s in zip(true, seen, strict=True) if t.std() > STILL.get(name, 0.05)]
    low, high = np.quantile(resampled, (0.025, 0.975))
    return {
        "r": float(correlation(sums.sum(0))),
        "low": float(low),
        "high": float(high),
        "bias": float(error.mean()),
        "sd": float(error.std()),
        "clip_r": float(np.mean(moving)),
        "clip_r_q10": float(np.quantile(moving, 0.1)),
        "clips_moving": len(moving),
    }


def moments(true: np.ndarray, seen: np.ndarray) -> list[float]:
    """Return n and the sums that a pooled correlation needs."""
    return [len(true), true.sum(), seen.sum(), (true**2).sum(), (seen**2).sum(), (true * seen).sum()]


def correlation(sums: np.ndarray) -> np.ndarray:
    """Return Pearson's correlation from sums (..., 6)."""
    n, x, y, xx, yy, xy = np.moveaxis(sums, -1, 0)
    return (n * xy - x * y) / np.sqrt((n * xx - x**2) * (n * yy - y**2))


def verify_all(clips: list[Clip], signals: list[Signals]) -> dict[str, float]:
    """Return the share of clips that are nearest to their own reference picture among all identities."""
    references = np.stack([read(clip.reference).person for clip in clips])
    spread = np.mean([s.identity.std(0) for s in signals], axis=0) + 1e-3
    metric = IdentityVerification(spread.tolist())
    for index, (clip, seen) in enumerate(zip(clips, signals, strict=True)):
        others = np.delete(references, index, axis=0)
        metric.update(seen.identity, references[index], others, seen.valid, identity=clip.seed)
    result = metric.compute()
    return {
        "share": float(result.value),
        "low": float(result.low),
        "high": float(result.high),
        "identities": len(clips),
    }


def measure(clips: list[Clip], degrade: Degrade | None, seed: int) -> dict:
    """Return the error budget of one condition."""
    signals = []
    for clip in clips:
        signals.append(read(clip.video if degrade is None else degrade(clip.video)))
    return {
        "clips": len(clips),
        "frames": sum(len(c.controls) for c in clips),
        "valid": float(np.mean(np.concatenate([s.valid for s in signals]))),
        "signals": {name: compare(clips, signals, name, seed) for name in SIGNALS},
        "verification": verify_all(clips, signals),
    }


def frames_per_second(clip: Clip) -> float:
    """Return the reader's speed on one thread."""
    torch.set_num_threads(1)
    video = np.concatenate([clip.video] * 4)
    read(video)
    began = time.perf_counter()
    read(video)
    return len(video) / (time.perf_counter() - began)


def hardware() -> dict[str, str]:
    """Return what ran."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.split(":")[1].strip() for line in lines if "model name" in line]
    cpu = names[0] if names else platform.machine()
    return {"cpu": cpu, "threads": "1", "torch": torch.__version__, "python": platform.python_version()}


def table(report: dict) -> str:
    """Return the report as markdown."""
    head = (
        f"{report['identities']} held-out identities, one 4-s clip each of held-out sentences with free head motion "
        f"(unless said), seed {report['seed']}. {report['hardware']['cpu']}, one thread, "
        f"{report['frames_per_second']:.0f} frames/s. Written by `benchmarks/reader.py`."
    )
    first = (
        "Pearson correlation with the truth over all frames [95 % interval over identities]. *own*: share of clips "
        "that are nearest to their own reference picture among all identities."
    )
    second = "Bias ± standard deviation of the error; mean correlation inside moving clips and its 10 % quantile."
    lines = ["# Error budget of the pixel reader", "", head, "", first, ""]
    lines += [f"| condition | {' | '.join(SIGNALS)} | own |", "|---" * (len(SIGNALS) + 2) + "|"]
    for name, row in report["conditions"].items():
        cells = [f"{s['r']:.3f} [{s['low']:.3f}, {s['high']:.3f}]" for s in row["signals"].values()]
        lines.append(f"| {name} | {' | '.join(cells)} | {row['verification']['share']:.2f} |")
    lines += ["", second, "", f"| condition | {' | '.join(SIGNALS)} |", "|---" * (len(SIGNALS) + 1) + "|"]
    for name, row in report["conditions"].items():
        lines.append(f"| {name} | {' | '.join(budget(signal) for signal in row['signals'].values())} |")
    return "\n".join(lines) + "\n"


def budget(signal: dict[str, float]) -> str:
    """Return one cell of the second table."""
    return f"{signal['bias']:+.3f} ± {signal['sd']:.3f}; {signal['clip_r']:.3f}, {signal['clip_r_q10']:.3f}"


def main() -> None:
    """Measure every condition and write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--identities", type=int, default=120)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no-codec", action="store_true", help="leave out the round trip through the codec")
    parser.add_argument("--output", type=Path, default=RESULTS / "reader.json")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    count, few = arguments.identities, max(10, arguments.identities // 3)
    clips = held_out_clips(count, framing=1.3, style="clean", size=96, motion=1.0)
    jobs: dict[str, tuple[list[Clip], Degrade | None]] = {
        "raw": (clips, None),
        "H.264 crf 18": (clips, through_h264(18)),
        "H.264 crf 28": (clips, through_h264(28)),
    }
    if not arguments.no_codec:
        jobs["codec round trip"] = (clips, through_codec())
    jobs["mild motion"] = (held_out_clips(count, 1.3, "clean", 96, 0.25), None)
    jobs["framing 1.0"] = (held_out_clips(few, 1.0, "clean", 96, 1.0), None)
    for size in (64, 256):
        jobs[f"{size} pixels"] = (held_out_clips(few, 1.3, "clean", size, 1.0), None)
    for style in ("flat", "sketch", "textured"):
        jobs[f"style {style}"] = (held_out_clips(few, 1.3, style, 96, 1.0), None)
    report = {"identities": count, "seed": arguments.seed, "hardware": hardware()}
    report |= {"frames_per_second": frames_per_second(clips[0]), "conditions": {}}
    for name, (chosen, degrade) in jobs.items():
        report["conditions"][name] = row = measure(chosen, degrade, arguments.seed)
        print(name, {s: round(v["r"], 3) for s, v in row["signals"].items()}, row["verification"], flush=True)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(report, indent=1) + "\n")
    arguments.output.with_suffix(".md").write_text(table(report))


if __name__ == "__main__":
    main()
