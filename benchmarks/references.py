"""What references fix: body views the back and the profiles, expressions the smile, on held-out characters.

    python benchmarks/references.py --model runs/references/last.ckpt --codec runs/turned/tiny.safetensors \\
        --output benchmarks/results/references.json

Draws a validation corpus in which every character is seen from any side and, after a cut or a turn, from the next one
in one clip, and breaks into a smile of its own, or is seen with it after a cut, in another. The model makes each clip
with the global reference alone, with body views, with expressions and with all, and with the body views and expressions
of somebody else, from equal noise; controls are the truth through the codec and the first picture standing still.
Scores, with 95 % intervals over characters, are of what the first picture does not show; so are the differences to the
global reference alone, paired by clip. A grid goes beside the output, a row for each of the first clips that show
another side and of the first that smile: the first picture, then the last one as truth, global, body, expression and
all; and another of the latter's mouths.

What a model makes of references depends on its training. The Base weights that ship, measured without --model, saw
others than the global one on 3 % of their clips at most, and nobody in them turned so or had a smile of its own:
train with recipes/overlay/references.yaml first. The decoder that ships shows turned heads with the first picture
shining through: train it with recipes/overlay/turned.yaml, and give it with --codec.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
from drift import finite
from performance import machine
from PIL import Image

from lpm.codec import load_codec
from lpm.data.puppets import read
from lpm.data.puppets.plan import CorpusSpec
from lpm.data.puppets.reveal import SMILES
from lpm.train import PuppetData
from lpm.train.callbacks import print_report, write_json
from lpm.train.checkpoint import load_performer
from lpm.train.frames import strip, to_uint8
from lpm.train.measure import Report
from lpm.train.revealed import Revealed, differences, measure_videos, summarise_revealed, videos
from lpm.train.seeing import SETS, reference_performers

SHOWN = ("truth", *SETS)
UNITS = {
    "back_psnr": "dB, profiles and back, up is better",
    "face_psnr": "dB, a face that comes to light, up is better",
    "face_identity": "distance of that face to the true identity, down is better",
    "mouth_psnr": "dB, box around the mouth while it smiles, up is better",
    "smile_error": "of the smile that is read, of a full one, down is better",
}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="checkpoint or weights folder; the shipped weights if absent")
    parser.add_argument("--codec", type=Path, help="codec weights that take the place of the model's own")
    parser.add_argument("--output", type=Path, required=True, help="JSON file to write; the grid goes beside it")
    parser.add_argument("--identities", type=int, default=24, help="held-out characters, two clips each")
    parser.add_argument("--seconds", type=float, default=4.1)
    parser.add_argument("--motion", type=float, default=0.25, help="head motion beside the turn: 1 is free, 0.25 mild")
    parser.add_argument("--sides", choices=["cut", "turn"], default="cut", help="how other sides come to light")
    parser.add_argument("--smiles", choices=SMILES, default="smile", help="how the smile comes, in a second or at once")
    parser.add_argument("--framing", type=float, default=0.9, help="of clips; 0.9 is that of body views")
    parser.add_argument("--steps", type=int, default=2, help="solver steps")
    parser.add_argument("--chunk", type=int, default=24, help="new frames per chunk")
    parser.add_argument("--pictures", type=int, default=6, help="clips of each of both in the grids")
    parser.add_argument("--seed", type=int, default=3000, help="of the corpus; training uses small seeds")
    args = parser.parse_args()
    if args.identities < 2:
        parser.error(f"{args.identities} character has no other to exchange references with; give 2 or more")
    return args


def spec_of(args: argparse.Namespace) -> CorpusSpec:
    """Return the corpus: of each held-out character a clip that turns and one that smiles."""
    return CorpusSpec(
        identities=1, clips_per_identity=1, seen_clips=1, test_identities=1, val_identities=args.identities,
        val_clips_per_identity=2, motion=args.motion, framing=args.framing,
        seconds=args.seconds, seed=args.seed,
        kinds={"speak": 0.5, "listen": 0.25, "idle": 0.25}, reveals={args.sides: 0.5, args.smiles: 0.5},
    )  # fmt: skip


def mouth(row_THWC: np.ndarray, larger: int = 3) -> np.ndarray:
    """Return the middle of frames, where a face that is seen from the front has its mouth, enlarged."""
    height, width = row_THWC.shape[1:3]
    box = row_THWC[:, height * 7 // 16 : height * 11 // 16, width * 5 // 16 : width * 11 // 16]
    return box.repeat(larger, axis=1).repeat(larger, axis=2)


def main() -> None:
    args, start = arguments(), time.perf_counter()
    model, spec = load_performer(args.model), spec_of(args)
    if args.codec is not None:
        model.codec = load_codec(args.codec)
    data = PuppetData(
        spec,
        measured_kinds=("global", "body", "expression"),
        measured_frames=spec.frames,
        measured_clips=2 * args.identities,
        pixels=True,
    )
    data.prepare_data()
    performers = reference_performers(model, args.steps, args.chunk)
    rows: list[Revealed] = []
    sides, smiles = [], []
    for batch in data.performance_loaders()["held_out"]:
        made = videos(performers, batch)
        rows += measure_videos(made, batch, read)
        for clip, meta in enumerate(batch.meta):
            shown = [made["truth"][clip, :1], *(made[name][clip, -1:] for name in SHOWN)]
            row = np.concatenate([to_uint8(frame) for frame in shown])
            (smiles if meta["tags"]["reveal"] in SMILES else sides).append((batch.keys[clip], row))
    report = summarise_revealed(rows, spec.frames, spec.fps)
    gained = Report(report.clips, report.seconds, differences(rows))
    print_report("revealed", report)
    print_report("less what the global reference alone gives", gained)
    picture, sides, smiles = args.output.with_suffix(".png"), sides[: args.pictures], smiles[: args.pictures]
    write_json(
        args.output,
        {
            "command": {name: str(value) for name, value in vars(args).items()},
            "took_s": time.perf_counter() - start,
            "machine": machine(),
            "units": UNITS,
            "grid": {"columns": ["first", *SHOWN], "clips": [key for key, _ in sides + smiles]},
            **finite(report.as_dict()),
            "differences_to_global": finite(gained.as_dict()["scores"]),
        },
    )
    near = picture.with_stem(f"{picture.stem}-smiles")
    Image.fromarray(strip([row for _, row in sides + smiles], 1 + len(SHOWN))).save(picture)
    Image.fromarray(strip([mouth(row) for _, row in smiles], 1 + len(SHOWN))).save(near)
    print(json.dumps({"output": str(args.output), "grid": str(picture), "smiles": str(near)}))


if __name__ == "__main__":
    main()
