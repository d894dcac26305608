"""How live a stream is on this machine: real-time factor, time to the first frame, and how long chunks take.

    python benchmarks/stream.py --seconds 20
    python benchmarks/stream.py --seconds 600 --model weights/backbone --refiner weights/refiner

Streams the puppet size from noise in both voices, as fast as it can, twice: cold, then with everything warm. Frames are
made and handed out, not encoded. Prints one JSON with the hardware; docs/guide/stream.md tells how to read it. On a
machine that does other work, processor seconds tell more than the clock.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from performance import machine

from lpm.metric import summarise
from lpm.sample import stream_puppet
from lpm.stream import EventLog, Opening, Show, StreamSampler, WallClock, perform, send
from lpm.stream.stages import GUIDED
from lpm.train.checkpoint import load_model
from lpm.train.stream_command import load_refiner, pick_steps
from lpm.types import References


class Noise:
    """A voice that never stops."""

    def __init__(self, seed: int) -> None:
        self.generator = np.random.default_rng(seed)

    def open(self) -> None:
        pass

    def begin(self) -> None:
        pass

    def take(self, count: int) -> np.ndarray:
        return (0.1 * self.generator.standard_normal(count)).astype(np.float32)

    def waiting(self) -> int:
        return 0

    def ended(self) -> bool:
        return False

    def clear(self) -> None:
        pass

    def close(self) -> None:
        pass


class Nowhere:
    """Takes frames and forgets them."""

    def write(self, picture_HWC: np.ndarray, sound_S: np.ndarray) -> None:
        pass


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--model", type=Path, help="checkpoint or weights folder; the shipped weights that stream if left out"
    )
    parser.add_argument("--refiner", type=Path, help="checkpoint or weights folder of the second network")
    parser.add_argument("--refined", action="store_true", help="run the network a second time, as a refiner would")
    parser.add_argument("--seconds", type=float, default=20.0, help="of video")
    parser.add_argument("--size", type=int, default=96, help="height and width of the video")
    parser.add_argument("--chunk", type=int, help="latent frames in a chunk; as the weights were distilled if left out")
    parser.add_argument("--steps", type=int, help="evaluations of a chunk; as the weights were distilled if left out")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--output", type=Path, help="JSON file to write, too")
    return parser.parse_args()


def measured(sampler: StreamSampler, seconds: float, size: int) -> dict:
    """Stream once and return the metrics of its log."""
    kinds = torch.zeros(1, 1, dtype=torch.int64)
    picture = torch.rand(1, 3, size, size, generator=torch.Generator().manual_seed(0)) * 2 - 1
    references = References(kinds, kinds, kinds == 0, pixels_BRCHW=picture[None])
    with tempfile.TemporaryFile("w+") as file:  # in memory the log itself would grow by some 16 MB an hour of video
        log = EventLog(file, WallClock())
        show = Show(Opening(picture, references, ["calm"]), Noise(1), Noise(2), seconds, log=log)
        send(perform(sampler, show), Nowhere(), log)
        file.seek(0)
        return summarise([json.loads(line) for line in file], warm_up=3.0)


@torch.no_grad()
def main() -> None:
    args = arguments()
    model, refiner = stream_puppet() if args.model is None else (load_model(args.model), None)
    refiner = refiner if args.refiner is None else load_refiner(args.refiner)
    steps = pick_steps(model, args.steps, None)
    sampler = StreamSampler(model, refiner, steps, chunk=args.chunk)
    if args.refined:
        sampler = StreamSampler(model, sampler.backbone, steps, chunk=args.chunk)
    sampler.to(args.device)
    guided = sum(model.guidance.get(stream, 1.0) != 1 for stream in GUIDED)
    cold = measured(sampler, 2.0, args.size)
    begin = time.process_time()
    warm = measured(sampler, args.seconds, args.size)
    busy = time.process_time() - begin
    report = {
        "command": {name: str(value) for name, value in vars(args).items()},
        "machine": machine(),
        "parameters": sum(p.numel() for p in sampler.backbone.parameters()),
        "evaluations_per_chunk": len(steps.levels) * (1 + guided) + 1 + 2 * (sampler.refiner is not None),
        "processor_seconds_per_second": busy / args.seconds,
        "cold_first_frame": cold["first_frame"],
        "cold_start_to_first_frame": cold["start_to_first_frame"],
        **warm,
    }
    text = json.dumps(report, indent=1)
    print(text)
    if args.output is not None:
        args.output.write_text(text + "\n")


if __name__ == "__main__":
    main()
