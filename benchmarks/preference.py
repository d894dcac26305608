"""What preference tuning has changed, on held-out characters of a seed that neither training nor any choice has seen.

    python benchmarks/preference.py --after runs/dpo/version_0/checkpoints/last.ckpt --seed 2000 \\
        --output benchmarks/results/preference.json

Both models perform every clip from the same noises; scores are those of ``lpm.preference.PuppetScorer``, higher is
better. Prints each before and after, the mean of the clips' differences with its 95 % interval over characters, and the
scores of the true video through the codec, beyond which no model on its latents can be read.
"""

import argparse
import time
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import torch
from online import shares
from performance import machine

from lpm.data.puppets.plan import CorpusSpec
from lpm.metric import estimate
from lpm.metric.clips import identity_code
from lpm.preference import PuppetScorer, Scorer, score
from lpm.sample import PerformanceModel
from lpm.train import PuppetData
from lpm.train.callbacks import write_json
from lpm.train.checkpoint import load_performer
from lpm.train.frames import to_uint8
from lpm.train.pairs import candidate_of
from lpm.train.preference_report import compare, print_changes
from lpm.types import Batch

KINDS = ["listen=0.6", "speak=0.25", "conversation=0.15"]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", type=Path, help="checkpoint or weights folder; the shipped weights if absent")
    parser.add_argument("--after", type=Path, required=True, help="checkpoint or weights folder that was tuned")
    parser.add_argument("--output", type=Path, required=True, help="JSON file to write")
    parser.add_argument("--identities", type=int, default=24, help="held-out characters")
    parser.add_argument("--clips", type=int, default=3, help="of each character")
    parser.add_argument("--seconds", type=float, default=4.1)
    parser.add_argument("--motion", type=float, default=1.0, help="head motion: 1 is free, 0.25 mild")
    parser.add_argument("--kinds", nargs="+", default=KINDS, metavar="KIND=SHARE", help="what characters do")
    parser.add_argument("--guidance", nargs="+", default=[], metavar="STREAM=SCALE", help="of both; 1 is none")
    parser.add_argument("--noises", type=int, default=2, help="performances of each clip")
    parser.add_argument("--seed", type=int, default=2000, help="of the corpus; training uses small seeds")
    return parser.parse_args()


def main() -> None:
    args, start = arguments(), time.perf_counter()
    before, after = load_performer(args.before), load_performer(args.after)
    for model in (before, after):
        model.guidance = model.guidance | shares(args.guidance)
    spec = CorpusSpec(
        identities=1, clips_per_identity=1, seen_clips=1, test_identities=1, val_identities=args.identities,
        val_clips_per_identity=args.clips, motion=args.motion, seconds=args.seconds, seed=args.seed,
        kinds=shares(args.kinds),
    )  # fmt: skip
    data = PuppetData(spec, measured_frames=spec.frames, measured_clips=args.identities * args.clips, pixels=True)
    data.prepare_data()
    loader, scorers = data.performance_loaders()["held_out"], [PuppetScorer()]
    found = compare(partial(nullcontext, before), after, loader, scorers, seeds=range(args.noises))
    print_changes("held_out", found)
    truth = true_scores(before, loader, scorers)
    for name, row in truth.items():
        print(f"truth through the codec: {name} {row['value']:.4f} [{row['low']:.4f}, {row['high']:.4f}]")
    write_json(
        args.output,
        {
            "command": {name: str(value) for name, value in vars(args).items()},
            "took_s": time.perf_counter() - start,
            "machine": machine(),
            "scores": {name: row.as_dict() for name, row in found.items()},
            "truth": truth,
        },
    )


@torch.no_grad()
def true_scores(model: PerformanceModel, batches: Iterable[Batch], scorers: Sequence[Scorer]) -> dict[str, Any]:
    """Return the scores of the true videos through the codec."""
    rows: dict[str, list[float]] = {}
    codes: dict[str, list[int]] = {}
    for batch in batches:
        video = to_uint8(model.codec.decode(model.codec.encode(batch.video_BTCHW)))
        for row, meta in enumerate(batch.meta):
            for name, value in score(scorers, candidate_of(batch, row, video[row])).items():
                rows.setdefault(name, []).append(value)
                codes.setdefault(name, []).append(identity_code(meta["identity"]))
    found = {name: estimate(torch.tensor(rows[name]), torch.tensor(codes[name])) for name in rows}
    return {name: {key: float(x) for key, x in row._asdict().items()} for name, row in found.items()}


if __name__ == "__main__":
    main()
