"""How well streams perform beside the truth and Base, on the same held-out characters and sentences.

    python benchmarks/online.py --keep runs/rows \\
        --row online=weights/backbone,weights/refiner \\
        --row off_policy=runs/online/off_policy/last.ckpt,weights/refiner \\
        --row unrefined=weights/backbone \\
        --row clean=weights/backbone,weights/refiner,history=0 \\
        --row no_sink=weights/backbone,weights/refiner,sink=0 \\
        --row no_references=weights/backbone,weights/refiner,references=no

Clips that speak, listen and converse (``--kinds listen=1`` for reactions alone), with mild and with free head motion,
are made by every row from the same first frames, references and voices, and read from pixels. A row
(``benchmarks/rows.py``) is what ``StreamSampler`` makes, batch by batch; ``base`` is Base's own ``perform``, ``truth``
the true video through the codec. Base and the first row are also given other clips' voices (``_shuffled``). Prints
every score with its 95 % interval over characters, each row's over Base's and less the first row's on the same clips;
writes them as JSON, with strips of frames in the order of the table.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from drift import finite
from keep import kept, place
from lightning.fabric.utilities.apply_func import move_data_to_device
from performance import machine
from PIL import Image
from rich.console import Console
from rich.table import Table
from rows import Row, check_rows, parse_row

from lpm.data.puppets import CorpusSpec, read
from lpm.metric import Estimate
from lpm.sample import PerformanceModel, base_puppet
from lpm.stream import StreamSampler, stream_batch
from lpm.train import (
    Clip,
    Performer,
    PuppetData,
    measure_clips,
    paired_differences,
    paired_ratios,
    performers,
    summarise,
)
from lpm.train.callbacks import write_json
from lpm.train.checkpoint import load_model
from lpm.train.frames import strip, to_uint8
from lpm.train.measure import hear
from lpm.types import Batch

MOTIONS = {"mild": 0.25, "free": 1.0}
KINDS = ["speak=0.4", "listen=0.3", "conversation=0.3"]
TARGETS = {"lip_correlation": 0.85, "listening_speed": 0.80}
PICTURES = 12
Film = dict[str, np.ndarray]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--row", type=parse_row, action="append", required=True, help="what streams; may be repeated")
    parser.add_argument("--base", default="lpm.sample.base_puppet", help="checkpoint or weights folder of Base")
    parser.add_argument(
        "--output", type=Path, default=Path("benchmarks/results/online.json"), help="JSON file to write"
    )
    parser.add_argument(
        "--keep",
        type=Path,
        help="folder where rows are kept: those of unchanged weights and options are not made again; after a change of "
        "code, name a new one",
    )
    parser.add_argument("--identities", type=int, default=24, help="held-out characters")
    parser.add_argument("--clips", type=int, default=2, help="clips per character")
    parser.add_argument("--seconds", type=float, default=8.1, help="of each clip")
    parser.add_argument("--motions", nargs="+", choices=MOTIONS, default=list(MOTIONS), help="head motion of the truth")
    parser.add_argument("--kinds", nargs="+", default=KINDS, metavar="KIND=SHARE", help="what characters do")
    parser.add_argument("--steps", type=int, default=2, help="solver steps of Base")
    parser.add_argument("--chunk", type=int, default=24, help="new frames per chunk of Base")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seed", type=int, default=1000, help="of the corpus; training uses small seeds")
    args = parser.parse_args()
    check_rows(parser, args.row, "truth", "base", "base_shuffled", f"{args.row[0].name}_shuffled")
    return args


def main() -> None:
    args, start = arguments(), time.perf_counter()
    results, films = {}, []
    for motion in args.motions:
        clips, filmed = measured(args, motion)
        results[motion] = report(clips, [row.name for row in args.row])
        print_scores(motion, results[motion], f"minus_{args.row[0].name}")
        shown = [source for source in filmed if not source.endswith("_shuffled")]
        films += [filmed[source][kind] for kind in sorted(filmed["truth"]) for source in shown]
    content = {
        "benchmark": "online",
        "command": {name: str(value) for name, value in vars(args).items()},
        "took_s": time.perf_counter() - start,
        "machine": machine(),
        "targets": TARGETS,
        "results": finite(results),
    }
    write_json(args.output, content)
    Image.fromarray(strip(films, PICTURES)).save(args.output.with_suffix(".png"))
    print(json.dumps({"output": str(args.output), "strip": str(args.output.with_suffix(".png"))}))


def measured(args: argparse.Namespace, motion: str) -> tuple[list[Clip], dict[str, Film]]:
    """Return the clips of one kind of head motion, read from every source, and some of their frames by source."""
    spec = CorpusSpec(
        identities=1, clips_per_identity=1, seen_clips=1, test_identities=1, raw_videos=0,
        val_identities=args.identities, val_clips_per_identity=args.clips, motion=MOTIONS[motion],
        seconds=args.seconds, kinds=shares(args.kinds), seed=args.seed,
    )  # fmt: skip
    data = PuppetData(spec, measured_frames=spec.frames, measured_clips=args.identities * args.clips)
    data.prepare_data()
    clips, films = list[Clip](), {}
    for name, (stamp, make) in sources(args).items():
        file, begin = place(args.keep, name, [str(spec), args.device, *stamp]), time.perf_counter()
        found, films[name] = kept(file, lambda make=make: watched(make(), data.performance_loaders()["held_out"]))
        print(f"{motion} {name}: {len(found)} clips in {time.perf_counter() - begin:.0f} s", flush=True)
        clips = [joined(*pair) for pair in zip(clips, found, strict=True)] if clips else found
    return clips, films


def shares(kinds: list[str]) -> dict[str, float]:
    """Return the share of each kind of clip, of words such as ``listen=1``."""
    return {kind: float(share) for kind, _, share in (word.partition("=") for word in kinds)}


def sources(args: argparse.Namespace) -> dict[str, tuple[list[str], Callable[[], dict[str, Performer]]]]:
    """Return what is measured: by name what tells it from that of other runs, and what makes its performer."""
    base = Row("base", args.base)
    settings = [*base.stamp(), str(args.steps), str(args.chunk)]

    def by_base(name: str, source: str) -> dict[str, Performer]:
        model = performer_of(args.base, args.device)
        return {name: on(args.device, performers(model, [source], args.steps, args.chunk, 0)[source])}

    def by_row(name: str, row: Row, source: str) -> dict[str, Performer]:
        return {name: on(args.device, partial(streamed, row.sampler().to(args.device), row, source))}

    first = args.row[0]
    return {
        "truth": (settings, partial(by_base, "truth", "codec")),
        "base": (settings, partial(by_base, "base", "generated")),
        **{row.name: (row.stamp(), partial(by_row, row.name, row, "generated")) for row in args.row},
        "base_shuffled": (settings, partial(by_base, "base_shuffled", "shuffled")),
        f"{first.name}_shuffled": (first.stamp(), partial(by_row, f"{first.name}_shuffled", first, "shuffled")),
    }


def performer_of(source: str, device: str) -> PerformanceModel:
    """Return Base."""
    return (base_puppet() if source == "lpm.sample.base_puppet" else load_model(source)).to(device)


def on(device: str, perform: Performer) -> Performer:
    """Return the performer with its batches on a device and its videos on the processor."""
    return lambda batch: perform(move_data_to_device(batch, torch.device(device))).cpu()


def streamed(sampler: StreamSampler, row: Row, source: str, batch: Batch) -> torch.Tensor:
    """Return the videos of a batch as streams in step."""
    return torch.cat(list(stream_batch(sampler, hear(batch, source), references=row.references)), dim=1)


def watched(performer: dict[str, Performer], loader: Iterable[Batch]) -> tuple[list[Clip], Film]:
    """Return what is read of every clip, and frames of the first clip of each kind."""
    ((name, perform),) = performer.items()
    film: Film = {}

    def filmed(batch: Batch) -> torch.Tensor:
        video = perform(batch)
        for row, meta in enumerate(batch.meta):
            picks = np.linspace(0, video.shape[1] - 1, PICTURES).round().astype(int)
            film.setdefault(meta["tags"]["kind"], to_uint8(video[row, picks]))
        return video

    return measure_clips({name: filmed}, loader, read), film


def joined(one: Clip, other: Clip) -> Clip:
    """Return a clip with the readings of both."""
    return replace(one, readings=one.readings | other.readings, sharpness=one.sharpness | other.sharpness)


def report(clips: list[Clip], rows: list[str]) -> dict[str, Any]:
    """Return all scores, those of each kind of clip, and each row against Base on the same clips."""
    kinds = sorted({clip.meta["tags"]["kind"] for clip in clips})
    return {
        **summarise(clips).as_dict(),
        "kinds": {kind: summarise([c for c in clips if c.meta["tags"]["kind"] == kind]).as_dict() for kind in kinds},
        "over_base": {row: numbers(paired_ratios(clips, row, "base")) for row in rows},
        "minus_base": {row: numbers(paired_differences(clips, row, "base")) for row in rows},
        f"minus_{rows[0]}": {row: numbers(paired_differences(clips, row, rows[0])) for row in rows[1:]},
    }


def numbers(estimates: dict[str, Estimate]) -> dict[str, dict[str, float]]:
    """Return plain numbers."""
    return {name: {key: float(x) for key, x in each._asdict().items()} for name, each in estimates.items()}


def print_scores(motion: str, result: dict[str, Any], differences: str) -> None:
    """Print a row per source, a column per score; then each row over Base, and each further one less the first."""
    scores = result["scores"]
    table = Table("", *scores, title=f"{motion} head motion: {result['clips']} clips, {result['seconds']:.0f} s")
    for source in scores["identity_distance"]:
        table.add_row(source, *(told(by.get(source)) for by in scores.values()))
    ratios = Table("over base", *(f"{name} (target {least:.2f})" for name, least in TARGETS.items()))
    for row, by in result["over_base"].items():
        ratios.add_row(row, *(told(by.get(name)) for name in TARGETS))
    names = list(dict.fromkeys(name for by in result[differences].values() for name in by))
    less = Table(differences.replace("_", " ", 1), *names)
    for row, by in result[differences].items():
        less.add_row(row, *(told(by.get(name)) for name in names))
    console = Console(width=240)
    console.print(table, ratios, less)


def told(estimate: dict[str, float] | None) -> str:
    """Return a value and its interval."""
    return "" if estimate is None else f"{estimate['value']:.3f} [{estimate['low']:.3f}, {estimate['high']:.3f}]"


if __name__ == "__main__":
    main()
