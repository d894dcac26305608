"""What the sound alone tells of the mouth: the ceiling of lips that hear, without any picture.

    python benchmarks/hearing.py --output benchmarks/results/hearing.json

Trains a small convolutional regression from log-mel energies around a frame to the true opening of the mouth, on the
training voices of the corpus of recipes/overlay/long.yaml, and measures it as lips are (`ApertureAgreement`) on
the voices of held-out characters, the clips of benchmarks/performance.py.
"""

import argparse
import json
import time
from pathlib import Path

import torch
import yaml
from performance import machine
from torch import Tensor, nn
from torch.nn.functional import pad

from lpm.condition.speech import FRAME, HOP, MEL_RATE, log_mel
from lpm.data.puppets.plan import CorpusSpec
from lpm.metric import ApertureAgreement, Estimate
from lpm.train import AudioData
from lpm.train.callbacks import write_json
from lpm.types import SAMPLE_RATE, Batch

MELS, PAST, FUTURE = 40, 0.6, 0.2
LONG = Path(__file__).parent.parent / "recipes/overlay/long.yaml"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="JSON file to write")
    parser.add_argument("--steps", type=int, default=1500, help="of 256 frames")
    parser.add_argument("--clips", type=int, default=1024, help="training clips")
    parser.add_argument("--seed", type=int, default=2000, help="of the held-out clips; training uses small seeds")
    return parser.parse_args()


def main() -> None:
    args, start = arguments(), time.perf_counter()
    torch.manual_seed(0)
    trained = CorpusSpec(**yaml.safe_load(LONG.read_text())["data"]["init_args"]["corpus"])
    heard, wanted = speaking_frames(AudioData(corpus=trained), args.clips)
    network = train(heard, wanted, args.steps)
    held_out = CorpusSpec(
        identities=1, clips_per_identity=1, seen_clips=1, test_identities=1, raw_videos=0, val_identities=24,
        val_clips_per_identity=2, motion=1.0, seconds=4.1, kinds={"speak": 0.6, "listen": 0.4}, seed=args.seed,
    )  # fmt: skip
    found = measure(network, AudioData(corpus=held_out, frames=97))
    result = {name: float(value) for name, value in found._asdict().items()}
    command = {name: str(value) for name, value in vars(args).items()}
    write_json(
        args.output,
        {
            "benchmark": "hearing",
            "command": command,
            "machine": machine(),
            "frames": len(wanted),
            "lip_correlation": result,
            "took_s": time.perf_counter() - start,
        },
    )
    print(json.dumps(result))


def speaking_frames(data: AudioData, clips: int) -> tuple[Tensor, Tensor]:
    """Return the sound around every frame on which the characters speak (N, A, mels), float16, and the mouths (N,)."""
    data.prepare_data()
    heard, wanted, seen = [], [], 0
    for batch in data.train_dataloader():
        speaking = batch.state_BT == 0
        heard.append(around(batch)[speaking].half())
        wanted.append(batch.truth["aperture"][speaking])
        seen += len(batch.keys)
        if seen >= clips:
            return torch.cat(heard), torch.cat(wanted)
    raise AssertionError("training batches never end")


def around(batch: Batch) -> Tensor:
    """Return log-mel energies from ``PAST`` before the middle of each frame to ``FUTURE`` after it, (B, T, A, mels)."""
    ends = pad(batch.speak_BS, (FRAME, round((FUTURE + 0.1) * SAMPLE_RATE)))
    energies = log_mel(ends.unfold(1, FRAME, HOP), MELS)
    frames = batch.truth["aperture"].shape[1]
    middles = ((torch.arange(frames) + 0.5) / batch.fps + batch.history) * MEL_RATE
    window = torch.arange(round(-PAST * MEL_RATE), round(FUTURE * MEL_RATE))
    return energies[:, (middles.round().long()[:, None] + window).clamp(0, energies.shape[1] - 1)]


def train(heard_NAM: Tensor, wanted_N: Tensor, steps: int) -> nn.Module:
    """Return the regression."""
    layers: list[nn.Module] = []
    for width in (MELS, 96, 96):
        layers += [nn.Conv1d(width, 96, 5, stride=2, padding=2), nn.GELU()]
    network = nn.Sequential(*layers, nn.Flatten(), nn.Linear(96 * 10, 128), nn.GELU(), nn.Linear(128, 1))
    optimizer = torch.optim.AdamW(network.parameters(), 1e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda n: min(1, (n + 1) / 100) * (1 - n / steps))
    for _ in range(steps):
        rows = torch.randint(len(wanted_N), (256,))
        loss = (network(heard_NAM[rows].float().transpose(1, 2))[:, 0] - wanted_N[rows]).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return network.eval()


@torch.no_grad()
def measure(network: nn.Module, data: AudioData) -> Estimate:
    """Return the agreement with the truth on held-out voices."""
    data.prepare_data()
    lips = ApertureAgreement()
    for batch in data.val_dataloader():
        opening = network(around(batch).flatten(0, 1).transpose(1, 2))[:, 0].unflatten(0, (len(batch.keys), -1))
        for row, meta in enumerate(batch.meta):
            speaking = batch.state_BT[row] == 0
            if int(speaking.sum()) >= 12:
                lips.update(opening[row], batch.truth["aperture"][row], speaking, identity=meta["identity"])
    return lips.compute()


if __name__ == "__main__":
    main()
