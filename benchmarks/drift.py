"""How far a long video drifts: identity, colours, sharpness, motion and lips of held-out characters, by the minute.

    python benchmarks/drift.py --characters 8 --minutes 10 --output benchmarks/results/drift.json
    python benchmarks/drift.py --row online=weights/backbone,weights/refiner --row unrefined=weights/backbone \\
        --keep runs/drift --output benchmarks/results/drift-online.json

Every character performs one conversation from its first frame, in pieces that are read and thrown away; the drawn
truth is the control. Base performs with its reference and without (guidance scale 0); with ``--row`` streams do
instead, as ``benchmarks/rows.py`` describes them. Scores are medians per window; slopes are Theil-Sen per minute with
95 % intervals over characters and blocks of time. Levels are of each further row less the first, at equal moments,
with intervals over blocks of time, from ten characters on over characters. Curves and strips go beside the output.
``memory_mb`` is what the process holds, less what was read, after a tenth of the time and at the end.
"""

import argparse
import json
import math
import time
from collections.abc import Callable, Iterator
from functools import cache, lru_cache, partial
from itertools import cycle
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from keep import kept, place
from lightning.fabric.utilities.apply_func import move_data_to_device
from performance import machine
from PIL import Image
from rows import Row, check_rows, parse_row

from lpm.data import Clip, collate, cut_audio
from lpm.data.puppets import CorpusSpec, Puppet, read, sample_identity
from lpm.data.puppets.clip import play
from lpm.data.puppets.controls import COLUMN
from lpm.data.puppets.perform import Performance
from lpm.data.puppets.plan import ClipPlan, derived_seed, split_casts
from lpm.data.puppets.progress import track
from lpm.data.puppets.references import draw_references
from lpm.metric import (
    Drift,
    aperture_agreement,
    colour_difference,
    estimate,
    identity_distances,
    sharpness,
    window_medians,
    window_times,
)
from lpm.sample import PerformanceModel, base_puppet
from lpm.stream import StreamSampler, memory, stream_batch
from lpm.train.callbacks import print_report, write_json
from lpm.train.checkpoint import load_model
from lpm.train.frames import strip, to_uint8
from lpm.train.measure import Report
from lpm.types import STATES, Batch

SCORES = {
    "identity": "distance to the reference's identity",
    "background": "CIEDE2000 of the upper corners' mean colour to frame 0",
    "middle": "CIEDE2000 of the inner half's mean colour to frame 0",
    "sharpness": "log of sharpness over frame 0's",
    "motion": "head speed, degrees a second",
    "lips": "correlation of the mouth with the truth, speaking",
}
SCALES: dict[str, dict[str, float]] = {"references": {}, "none": {"references": 0.0}}
COLOURS = ["#888888", "#2a6f97", "#d9825b", "#5b8c5a", "#8e5ea2", "#b5892b", "#3fa7a3", "#c2547d"]
READ = ("identity", "background", "middle", "sharp", "head", "lips", "valid")
HISTORY, LOOKAHEAD, PICTURES = 2.6, 0.2, 12


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="checkpoint or weights folder; the shipped weights if absent")
    parser.add_argument("--row", type=parse_row, action="append", help="a stream instead of Base; may be repeated")
    parser.add_argument("--keep", type=Path, help="folder of finished parts, so that a run that was cut off goes on")
    parser.add_argument("--output", type=Path, required=True, help="JSON file to write; PNGs go beside it")
    parser.add_argument("--characters", type=int, default=8, help="held-out characters")
    parser.add_argument("--minutes", type=float, default=10.0, help="length of each video")
    parser.add_argument("--kind", default="conversation", help="conversation, speak, listen or idle")
    parser.add_argument("--motion", type=float, default=0.25, help="head motion of the truth: 1 is free, 0.25 mild")
    parser.add_argument("--window", type=float, default=5.0, help="seconds of a point of a curve; 10 for an hour")
    parser.add_argument("--block", type=float, default=10.0, help="seconds that the bootstrap draws together")
    parser.add_argument("--steps", type=int, help="solver steps; the library's default if absent")
    parser.add_argument("--chunk", type=int, default=24, help="new frames per chunk")
    parser.add_argument("--history", type=int, default=2, help="latent frames that a chunk goes on from")
    parser.add_argument("--overlap", type=int, default=0, help="latent frames that are made twice and faded")
    parser.add_argument("--batch", type=int, default=4, help="characters that perform together")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seed", type=int, default=1000, help="of characters and sentences; training uses small seeds")
    args = parser.parse_args()
    check_rows(parser, args.row or [], "truth")
    return args


def main() -> None:
    args, start = arguments(), time.perf_counter()
    spec = CorpusSpec(seconds=60 * args.minutes, val_identities=args.characters, motion=args.motion, seed=args.seed)
    cast, chosen = split_casts(spec)["val"], variants(args)
    seen: dict[str, list[Seen]] = {name: [] for name in chosen}
    with track(len(cast) * spec.frames * len(chosen), "drift") as advance:
        for first in range(0, len(cast), args.batch):
            people = cast[first : first + args.batch]
            actors = cache(partial(actors_of, people, spec, args.kind))
            for name, (stamp, make) in chosen.items():
                facts = [str(spec), str(people), args.kind, args.device, str(args.window), *stamp]
                file, made = place(args.keep, name, facts), partial(watch, make, actors, spec.fps, args.window, advance)
                if file is not None and file.is_file():
                    advance(len(people) * spec.frames)
                seen[name] += kept(file, made)
    curves = {name: {score: [each.curves[score] for each in rows] for score in SCORES} for name, rows in seen.items()}
    report = Report(len(cast), len(cast) * spec.frames / spec.fps, slopes(curves, args.window, args.block))
    print_report("slope per minute", report)
    first, *others = list(chosen)[1:]
    less = Report(len(cast), report.seconds, levels(curves, first, others, round(args.block / args.window)))
    if others:
        print_report(f"level, minus {first}", less)
    memory_mb = {name: [each.memory_mb for each in rows] for name, rows in seen.items()}
    write(args, spec, {"slopes_per_minute": report, f"minus_{first}": less}, curves, memory_mb, start)
    plot(args.output.with_suffix(".png"), curves, args.window)
    pictures = [rows[0].pictures for rows in seen.values()]
    Image.fromarray(strip(pictures, PICTURES)).save(args.output.with_name(f"{args.output.stem}-strip.png"))
    print(json.dumps({"output": str(args.output), "plot": str(args.output.with_suffix(".png"))}))


class Seen(NamedTuple):
    """What is left of one video: a median per window and score, some frames, and what the process held."""

    curves: dict[str, np.ndarray]
    pictures: np.ndarray
    memory_mb: tuple[float, float]


Maker = Callable[[list["Actor"]], Iterator[np.ndarray]]


def variants(args: argparse.Namespace) -> dict[str, tuple[list[str], Maker]]:
    """Return what performs: by name what tells it from that of other runs, and what makes pieces of its videos."""
    truth: dict[str, tuple[list[str], Maker]] = {"truth": ([], drawn)}
    if args.row:
        rows = {row.name: ([*row.stamp(), str(args.seed)], partial(streamed, row, args=args)) for row in args.row}
        return truth | rows
    base = Row("base", str(args.model or "lpm.sample.base_puppet"))
    how = [str(value) for value in (args.steps, args.chunk, args.history, args.overlap, args.seed)]
    return truth | {
        name: ([*base.stamp(), *how, str(scales)], partial(performed, base.backbone, scales=scales, args=args))
        for name, scales in SCALES.items()
    }


def actors_of(people: tuple[int, ...], spec: CorpusSpec, kind: str) -> list["Actor"]:
    """Return the characters that perform together."""
    return [Actor(identity, spec, kind) for identity in people]


@lru_cache(maxsize=1)
def base_of(source: str, device: str) -> PerformanceModel:
    """Return Base."""
    return (base_puppet() if source == "lpm.sample.base_puppet" else load_model(source)).to(device)


@lru_cache(maxsize=1)
def sampler_of(row: Row, device: str) -> StreamSampler:
    """Return what streams in a row."""
    return row.sampler().to(device)


class Actor:
    """One held-out character and all that is known of its performance."""

    def __init__(self, identity: int, spec: CorpusSpec, kind: str) -> None:
        self.name, self.spec = f"puppet-{identity}", spec
        seed = derived_seed(spec.seed, "drift", identity)
        plan = ClipPlan(self.name, "val", kind, "clean", "en", identity, seed)
        who = sample_identity(identity)
        scene = play(plan, spec, who)
        self.person: Performance = scene.people[0]
        self.partner: Performance = scene.people[1]
        self.puppet = Puppet(who, size=spec.size, style="clean", framing=spec.framing)
        self.first = self.puppet.render(self.person.controls[:1])
        rng = np.random.default_rng(derived_seed(seed, "references"))
        self.reference = draw_references(self.puppet, "clean", self.person.controls[0], rng)[0].image
        self.looks = read(self.reference[None]).identity[0]

    def clip(self) -> Clip:
        """Return the conditions of its performance, with the first frame and the global reference."""
        seconds = HISTORY + self.spec.frames / self.spec.fps + LOOKAHEAD
        return Clip(
            key=self.name,
            fps=self.spec.fps,
            speak_S=cut_audio(self.person.voice, -HISTORY, seconds),
            listen_S=cut_audio(self.partner.voice, -HISTORY, seconds),
            history=HISTORY,
            text=self.person.caption,
            state_T=self.person.states,
            kind_R=np.zeros(1, np.int64),
            sub_kind_R=np.zeros(1, np.int64),
            video_THWC=self.first,
            reference_RHWC=self.reference[None],
        )


def performed(
    source: str, actors: list[Actor], scales: dict[str, float], args: argparse.Namespace
) -> Iterator[np.ndarray]:
    """Yield pieces of Base's videos, uint8 (B, T, H, W, 3)."""
    model = base_of(source, args.device)
    batch: Batch = move_data_to_device(collate([actor.clip() for actor in actors]), model.device)
    steps = {} if args.steps is None else {"steps": args.steps}
    pieces = model.perform_chunks(
        batch,
        frames=actors[0].spec.frames,
        chunk=args.chunk,
        history=args.history,
        scales=scales,
        generator=torch.Generator().manual_seed(args.seed),
        overlap=args.overlap,
        **steps,
    )
    return map(to_uint8, pieces)


def streamed(row: Row, actors: list[Actor], args: argparse.Namespace) -> Iterator[np.ndarray]:
    """Yield pieces of streams in step, uint8 (B, T, H, W, 3)."""
    batch: Batch = move_data_to_device(collate([actor.clip() for actor in actors]), torch.device(args.device))
    sampler, frames = sampler_of(row, args.device), actors[0].spec.frames
    return map(to_uint8, stream_batch(sampler, batch, frames, row.references, args.seed))


def drawn(actors: list[Actor], frames: int = 240) -> Iterator[np.ndarray]:
    """Yield pieces of the drawn truth, uint8 (B, T, H, W, 3)."""
    for first in range(0, actors[0].spec.frames, frames):
        rows = slice(first, min(first + frames, actors[0].spec.frames))
        yield np.stack([actor.puppet.render(actor.person.controls[rows]) for actor in actors])


class Watched:
    """What was read of one video, frame by frame."""

    def __init__(self, actor: Actor, frames: int) -> None:
        self.actor = actor
        self.rows: dict[str, list[np.ndarray]] = {name: [] for name in READ}
        self.pictures: list[np.ndarray] = []
        self.wanted = set(np.linspace(0, frames - 1, PICTURES).round().astype(int).tolist())
        self.seen = self.size = 0

    def see(self, video_THWC: np.ndarray) -> None:
        """Read the next frames."""
        reading = read(video_THWC)
        distance = identity_distances(reading.identity, self.actor.looks, valid_T=reading.valid)
        head = np.stack([reading.yaw, reading.pitch, reading.roll], axis=1)
        found = {"identity": distance.numpy(), "head": head, "lips": reading.aperture, "valid": reading.valid}
        found |= {"background": mean_lab(corners(video_THWC)), "middle": mean_lab(middle(video_THWC))}
        found["sharp"] = sharpness(video_THWC).numpy()
        for name, values in found.items():
            self.rows[name].append(values)
        self.pictures += [frame.copy() for i, frame in enumerate(video_THWC, self.seen) if i in self.wanted]
        self.seen += len(video_THWC)
        self.size += sum(values.nbytes for values in found.values())

    def curves(self, fps: float, window: float) -> dict[str, np.ndarray]:
        """Return the median of every score per window; of lips their correlation, NaN where hardly any are to move."""
        scores = {name: window_medians(values, fps, window).numpy() for name, values in self.scores(fps).items()}
        made, valid = (np.concatenate(self.rows[name]) for name in ("lips", "valid"))
        true, states = self.actor.person.controls[:, COLUMN["aperture"]], self.actor.person.states
        frames = round(window * fps)
        pieces = [slice(first, first + frames) for first in range(0, len(scores["identity"]) * frames, frames)]
        speaking = states == STATES.index("speaking")
        lips = [float(aperture_agreement(made[cut], true[cut], speaking[cut], valid[cut])) for cut in pieces]
        return {**scores, "lips": np.array(lips)}

    def scores(self, fps: float) -> dict[str, np.ndarray]:
        """Return every score per frame, (T,)."""
        rows = {name: np.concatenate(values) for name, values in self.rows.items()}
        speed = np.linalg.norm(np.diff(rows["head"], axis=0, prepend=rows["head"][:1]), axis=1) * fps
        return {
            "identity": rows["identity"],
            **{name: to_first(torch.from_numpy(rows[name])) for name in ("background", "middle")},
            "sharpness": np.log((rows["sharp"] + 1e-3) / (rows["sharp"][0] + 1e-3)),
            "motion": speed,
        }


def corners(video_THWC: np.ndarray) -> np.ndarray:
    """Return the upper corners, a tenth of the picture wide and high each, side by side."""
    high, wide = (max(2, side // 10) for side in video_THWC.shape[1:3])
    return np.concatenate([video_THWC[:, :high, :wide], video_THWC[:, :high, -wide:]], axis=2)


def middle(video_THWC: np.ndarray) -> np.ndarray:
    """Return the inner half of the picture, mostly face."""
    high, wide = (side // 4 for side in video_THWC.shape[1:3])
    return video_THWC[:, high:-high, wide:-wide]


def mean_lab(video_THWC: np.ndarray) -> np.ndarray:
    """Return the CIE Lab of the mean colour of every frame, (T, 3)."""
    rgb_T3 = video_THWC.mean(axis=(1, 2), dtype=np.float64) / 255
    return cv2.cvtColor(rgb_T3[None].astype(np.float32), cv2.COLOR_RGB2LAB)[0]


def to_first(lab_T3: torch.Tensor) -> np.ndarray:
    """Return the CIEDE2000 of every frame's colour to the first's, (T,)."""
    return colour_difference(lab_T3, lab_T3[:1].expand_as(lab_T3)).numpy()


def watch(make: Maker, actors: Callable[[], list[Actor]], fps: float, window: float, advance: Any) -> list[Seen]:
    """Read every row of a batch of videos, and keep only what was read."""
    watched, held = [Watched(actor, actor.spec.frames) for actor in actors()], []
    for piece in make(actors()):
        for each, video_THWC in zip(watched, piece, strict=True):
            each.see(video_THWC)
        advance(piece.shape[0] * piece.shape[1])
        held.append((memory()["rss"] - sum(each.size for each in watched)) / 1e6)
    held_mb = (held[len(held) // 10], held[-1])
    return [Seen(each.curves(fps, window), np.stack(each.pictures), held_mb) for each in watched]


def slopes(curves: dict[str, dict[str, list[np.ndarray]]], window: float, block: float) -> dict[str, dict[str, Any]]:
    """Return the slope per minute of every score and variant, with its interval."""
    found: dict[str, dict[str, Any]] = {score: {} for score in SCORES}
    for name, by_score in curves.items():
        for score, rows in by_score.items():
            metric = Drift(window, block)
            for number, row in enumerate(rows):
                metric.update(row, identity=number)
            found[score][name] = metric.compute()
    return found


def levels(
    curves: dict[str, dict[str, list[np.ndarray]]], first: str, others: list[str], windows: int
) -> dict[str, dict[str, Any]]:
    """Return by how much the other variants lie above the first, from means over blocks of so many windows."""
    found: dict[str, dict[str, Any]] = {score: {} for score in SCORES}
    for name in others:
        for score in SCORES:
            pairs = zip(curves[name][score], curves[first][score], strict=True)
            less = [torch.as_tensor(mine - its).split(windows) for mine, its in pairs]
            blocks = torch.stack([block.nanmean() for row in less for block in row])
            found[score][name] = estimate(blocks, torch.arange(len(less)).repeat_interleave(len(less[0])))
    return found


def write(
    args: argparse.Namespace,
    spec: CorpusSpec,
    reports: dict[str, Report],
    curves: dict[str, dict[str, list[np.ndarray]]],
    memory_mb: dict[str, list[tuple[float, float]]],
    start: float,
) -> None:
    """Write the figures: curves by character, slopes and levels by score and variant (null without interval)."""
    rounded = {
        name: {score: [[round(float(x), 4) for x in row] for row in rows] for score, rows in by_score.items()}
        for name, by_score in curves.items()
    }
    content = {
        "benchmark": "drift",
        "command": {name: str(value) for name, value in vars(args).items()},
        "took_s": time.perf_counter() - start,
        "machine": machine(),
        "scores": SCORES,
        "frames": spec.frames,
        "window_s": args.window,
        "memory_mb": memory_mb,
        **{name: finite(report.as_dict()["scores"]) for name, report in reports.items()},
        "curves": finite(rounded),
    }
    write_json(args.output, content)


def finite(value: Any) -> Any:
    """Replace NaN, which JSON does not know, by None."""
    if isinstance(value, dict):
        return {name: finite(each) for name, each in value.items()}
    if isinstance(value, list):
        return [finite(each) for each in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def plot(path: Path, curves: dict[str, dict[str, list[np.ndarray]]], window: float) -> None:
    """Draw one picture per score: the mean over characters, and each character faintly."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(16, 8), layout="constrained")
    axes = figure.subplots(2, 3).flat
    for axis, (score, label) in zip(axes, SCORES.items(), strict=True):
        for name, colour in zip(curves, cycle(COLOURS)):
            rows = np.stack(curves[name][score])
            minutes = window_times(rows.shape[1], window).numpy()
            axis.plot(minutes, rows.T, color=colour, alpha=0.15, linewidth=0.7)
            axis.plot(minutes, np.nanmean(rows, axis=0), color=colour, label=name)
        axis.set(title=label, xlabel="minutes")
    figure.legend(*axis.get_legend_handles_labels(), loc="outside lower center", ncols=len(curves))
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
