"""What preference tuning has changed, on held-out characters of a seed that neither training nor any choice has seen.

    python benchmarks/preference.py --after runs/dpo/version_0/checkpoints/last.ckpt --seed 2000 \\
        --output benchmarks/results/preference.json

Both models perform every clip from the same noises; scores are those of ``lpm.preference.PuppetScorer``, higher is
better. Prints each before and after, and the mean of the clips' differences with its 95 % interval over characters.
"""

import argparse
import time
from pathlib import Path

from performance import machine

from lpm.data.puppets.plan import CorpusSpec
from lpm.preference import PuppetScorer
from lpm.train import PuppetData
from lpm.train.callbacks import write_json
from lpm.train.checkpoint import load_performer
from lpm.train.preference_report import compare, print_changes


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", type=Path, help="checkpoint or weights folder; the shipped weights if absent")
    parser.add_argument("--after", type=Path, required=True, help="checkpoint or weights folder that was tuned")
    parser.add_argument("--output", type=Path, required=True, help="JSON file to write")
    parser.add_argument("--identities", type=int, default=24, help="held-out characters")
    parser.add_argument("--clips", type=int, default=3, help="of each character")
    parser.add_argument("--seconds", type=float, default=4.1)
    parser.add_argument("--motion", type=float, default=1.0, help="head motion: 1 is free, 0.25 mild")
    parser.add_argument("--noises", type=int, default=2, help="performances of each clip")
    parser.add_argument("--seed", type=int, default=2000, help="of the corpus; training uses small seeds")
    return parser.parse_args()


def main() -> None:
    args, start = arguments(), time.perf_counter()
    before, after = load_performer(args.before), load_performer(args.after)
    spec = CorpusSpec(
        identities=1, clips_per_identity=1, seen_clips=1, test_identities=1, val_identities=args.identities,
        val_clips_per_identity=args.clips, motion=args.motion, seconds=args.seconds, seed=args.seed,
        kinds={"listen": 0.6, "speak": 0.25, "conversation": 0.15},
    )  # fmt: skip
    data = PuppetData(spec, measured_frames=spec.frames, measured_clips=args.identities * args.clips)
    data.prepare_data()
    loader = data.performance_loaders()["held_out"]
    found = compare(before, after, loader, [PuppetScorer()], seeds=range(args.noises))
    print_changes("held_out", found)
    write_json(
        args.output,
        {
            "command": {name: str(value) for name, value in vars(args).items()},
            "took_s": time.perf_counter() - start,
            "machine": machine(),
            "scores": {name: row.as_dict() for name, row in found.items()},
        },
    )


if __name__ == "__main__":
    main()
