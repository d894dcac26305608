"""How well weights perform on held-out characters and sentences: lips, listening, identity, with controls and
intervals.

    python benchmarks/performance.py --model runs/base/version_0/checkpoints/last.ckpt --output
    benchmarks/results/base.json

Draws a validation corpus of its own (identities and sentences that training never saw), generates every clip chunk by
chunk from its first frame, global reference and audio, and reads the videos from pixels. Strips go beside the output.
"""

import argparse
import json
import os
import platform
import time
from importlib.metadata import version
from pathlib import Path

import torch
from PIL import Image

from lpm.data.puppets import read
from lpm.data.puppets.plan import CorpusSpec
from lpm.train import PuppetData, measure
from lpm.train.callbacks import print_report, write_json
from lpm.train.checkpoint import load_model
from lpm.train.frames import strip, to_uint8
from lpm.train.measure import performers


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="checkpoint or weights folder")
    parser.add_argument("--output", type=Path, required=True, help="JSON file to write")
    parser.add_argument("--identities", type=int, default=24, help="held-out characters")
    parser.add_argument("--clips", type=int, default=2, help="clips per character")
    parser.add_argument("--motion", type=float, default=1.0, help="head motion of the clips: 1 is free, 0.25 mild")
    parser.add_argument("--listening", type=float, default=0.4, help="share of listening clips; the others speak")
    parser.add_argument("--seconds", type=float, default=4.1)
    parser.add_argument("--steps", type=int, default=2, help="solver steps")
    parser.add_argument("--guidance", nargs="+", metavar="STREAM=SCALE", help="in place of the model's own; 1 is none")
    parser.add_argument("--chunk", type=int, default=24, help="new frames per chunk")
    parser.add_argument("--seed", type=int, default=1000, help="of the corpus; training uses small seeds")
    return parser.parse_args()


def main() -> None:
    args = arguments()
    spec = CorpusSpec(
        identities=1, clips_per_identity=1, seen_clips=1, test_identities=1, raw_videos=0,
        val_identities=args.identities, val_clips_per_identity=args.clips, motion=args.motion, seconds=args.seconds,
        kinds={"speak": 1 - args.listening, "listen": args.listening}, seed=args.seed,
    )  # fmt: skip
    data = PuppetData(spec, measured_frames=spec.frames, measured_clips=args.identities * args.clips)
    data.prepare_data()
    clips = data.performance_loaders()["held_out"]
    model = load_model(args.model)
    given = (word.partition("=") for word in args.guidance or [])
    model.guidance = model.guidance | {stream: float(scale) for stream, _, scale in given}
    start = time.perf_counter()
    report = measure(model, clips, read, steps=args.steps, chunk=args.chunk)
    print_report("held_out", report)
    batch = next(iter(clips))
    videos = to_uint8(performers(model, ["generated"], args.steps, args.chunk, 0)["generated"](batch))
    truth = to_uint8(batch.video_BTCHW)
    picture = strip([video for pair in zip(truth, videos, strict=True) for video in pair])
    write_json(
        args.output,
        {
            "command": {name: str(value) for name, value in vars(args).items()},
            "took_s": time.perf_counter() - start,
            "machine": machine(),
            **report.as_dict(),
        },
    )
    Image.fromarray(picture).save(args.output.with_suffix(".png"))
    print(json.dumps({"output": str(args.output), "strip": str(args.output.with_suffix(".png"))}))


def machine() -> dict:
    """Return what the figures were made on."""
    return {
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "python": platform.python_version(),
        "torch": version("torch"),
        "lightning": version("lightning"),
    }


if __name__ == "__main__":
    main()
