"""What overlap does to the seams between chunks of a long video, and what it costs.

    python benchmarks/overlap.py --seed 2000 --output benchmarks/results/overlap.json

Held-out characters perform the same clips with chunks that overlap by more and more latent frames, from equal noise.
``seam`` is the mean absolute change of a pixel into the first frame of a chunk over that into the first frames of all
other latent frames, ``jump`` that into the first frame of any latent frame over that into frames inside one: 1 where
neither shows. ``lips`` is the correlation of the mouth's aperture with the truth, ``sharpness`` the log of sharpness
over frame 0's at the clip's end. The truth, drawn and through the codec, is the control. Intervals of 95 % are over
characters.
"""

import argparse
import json
import time
from functools import partial
from pathlib import Path

import torch
from performance import machine
from torch import Tensor

from lpm.data.puppets import read
from lpm.data.puppets.plan import CorpusSpec
from lpm.metric import aperture_agreement, estimate, sharpness, sharpness_drift
from lpm.metric.clips import identity_code
from lpm.sample import PerformanceModel
from lpm.train import PuppetData
from lpm.train.callbacks import print_report, write_json
from lpm.train.checkpoint import load_performer
from lpm.train.frames import to_uint8
from lpm.train.measure import Report
from lpm.types import STATES, Batch

STRIDE = 4  # frames of a latent frame


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, help="checkpoint or weights folder; the shipped weights if absent")
    parser.add_argument("--output", type=Path, required=True, help="JSON file to write")
    parser.add_argument("--identities", type=int, default=24, help="held-out characters, one clip each")
    parser.add_argument("--overlaps", type=int, nargs="+", default=[0, 1, 2, 3], help="latent frames")
    parser.add_argument("--seconds", type=float, default=8.1)
    parser.add_argument("--motion", type=float, default=0.25, help="head motion of the clips: 1 is free, 0.25 mild")
    parser.add_argument("--chunk", type=int, default=24, help="frames per chunk")
    parser.add_argument("--seed", type=int, default=1000, help="of the corpus; training uses small seeds")
    return parser.parse_args()


def main() -> None:
    args = arguments()
    spec = CorpusSpec(
        identities=1, clips_per_identity=1, seen_clips=1, test_identities=1, raw_videos=0, seconds=args.seconds,
        val_identities=args.identities, val_clips_per_identity=1, motion=args.motion, kinds={"speak": 1.0},
        seed=args.seed,
    )  # fmt: skip
    data = PuppetData(spec, measured_frames=spec.frames, measured_clips=args.identities)
    data.prepare_data()
    model = load_performer(args.model)
    makers = {"truth": the_truth, "codec": partial(round_trip, model)}
    makers |= {f"overlap {n}": partial(performed, model, args, n) for n in args.overlaps}
    rows: dict[str, dict[str, list[float]]] = {}
    took, people = dict.fromkeys(makers, 0.0), []
    for batch in data.performance_loaders()["held_out"]:
        people += [identity_code(meta["identity"]) for meta in batch.meta]
        for name, make in makers.items():
            start = time.perf_counter()
            videos_BTHWC = make(batch)
            took[name] += time.perf_counter() - start
            for row, video in enumerate(videos_BTHWC):
                for score, value in scores(torch.from_numpy(video), batch, row, args.chunk).items():
                    rows.setdefault(score, {}).setdefault(name, []).append(value)
    codes = torch.tensor(people)
    report = Report(len(people), len(people) * spec.frames / spec.fps)
    for score, table in rows.items():
        report.scores[score] = {name: estimate(torch.tensor(values), codes) for name, values in table.items()}
    print_report("overlap", report)
    first = took[f"overlap {args.overlaps[0]}"]
    of_none = {name: took[name] / first for name in (f"overlap {n}" for n in args.overlaps)}
    command = {name: str(value) for name, value in vars(args).items()}
    write_json(args.output, {"command": command, "machine": machine(), "time_ratio": of_none, **report.as_dict()})
    print(json.dumps({"output": str(args.output), "time_ratio": of_none}))


def the_truth(batch: Batch):
    """Return the true videos, uint8 (B, T, H, W, 3)."""
    return to_uint8(batch.video_BTCHW)


@torch.no_grad()
def round_trip(model: PerformanceModel, batch: Batch):
    """Return the true videos after the codec."""
    return to_uint8(model.codec.decode(model.latents(batch)))


def performed(model: PerformanceModel, args: argparse.Namespace, overlap: int, batch: Batch):
    """Return the videos that the model makes of a batch."""
    generator = torch.Generator().manual_seed(args.seed)
    return to_uint8(model.perform(batch, chunk=args.chunk, generator=generator, overlap=overlap))


def scores(video_THWC: Tensor, batch: Batch, row: int, chunk: int) -> dict[str, float]:
    """Return the scores of one video."""
    change_T = video_THWC.float().diff(dim=0).abs().mean(dim=(1, 2, 3))[chunk:]  # the first chunk begins at a picture
    place_T = torch.arange(len(change_T))  # change 0 leads to the first frame of a chunk, every fourth to a latent's
    latent_T = place_T % STRIDE == 0
    speaking_T, reading = batch.state_BT[row] == STATES.index("speaking"), read(video_THWC.numpy())
    valid_T = torch.as_tensor(reading.valid)
    return {
        "seam": float(change_T[place_T % chunk == 0].mean() / change_T[latent_T & (place_T % chunk != 0)].mean()),
        "jump": float(change_T[latent_T].mean() / change_T[~latent_T].mean()),
        "lips": float(aperture_agreement(reading.aperture, batch.truth["aperture"][row], speaking_T, valid_T)),
        "sharpness": float(sharpness_drift(sharpness(video_THWC))),
    }


if __name__ == "__main__":
    main()
