"""Train the pixel reader: ``python -m lpm.data.puppets.reader_training --folder pool --output reader.safetensors``.

Draws a pool of labelled puppets (``reader_pool``), degrades them as codecs, cameras and generative models do, and fits
``ReaderNetwork`` with AdamW and one cosine cycle. Deterministic from the seed on one thread.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, smooth_l1_loss

from lpm.data.puppets.controls import COLUMN
from lpm.data.puppets.reader_network import UNITS, ReaderNetwork
from lpm.data.puppets.reader_pool import Pool, PoolSpec, draw_pool

TARGETS = [COLUMN[name] for name in UNITS]
# The signals that metrics stand on weigh more; what only helps to explain the picture weighs less.
WEIGHTS = dict.fromkeys(UNITS, 1.0)
WEIGHTS |= {"aperture": 4.0, "pitch": 6.0, "yaw": 3.0, "roll": 1.5, "blink_l": 2.0, "blink_r": 2.0}
WEIGHTS |= {"gaze_x": 3.0, "gaze_y": 2.0}
WEIGHTS |= {"frown": 0.3, "smirk": 0.5, "sneer": 0.3, "tongue": 0.3, "eyelid": 0.5}


def train(
    pool: Pool,
    steps: int,
    batch: int = 64,
    rate: float = 3e-3,
    seed: int = 0,
    checkpoint: Path | None = None,
) -> ReaderNetwork:
    """Fit the reader's network to a pool and return it in evaluation mode.

    Args:
        pool: labelled pictures.
        steps: optimiser steps.
        batch: pictures in a step.
        rate: peak learning rate.
        seed: of the initial weights, the order and the degradations.
        checkpoint: file written every 500 steps and resumed from if it exists.
    """
    torch.manual_seed(seed)
    network = ReaderNetwork().to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=steps + 1, pct_start=0.05)
    parts: dict[str, Any] = {"network": network, "optimiser": optimiser, "schedule": schedule}
    first = resume(checkpoint, parts)
    began, mean = time.monotonic(), 0.0
    for step, examples in enumerate(batches(pool, batch, seed, first, steps), start=first + 1):
        loss = reader_loss(network, *examples)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        mean = 0.98 * mean + 0.02 * loss.item() if mean else loss.item()
        if step % 100 == 0:
            seconds = (time.monotonic() - began) / (step - first)
            print(f"step {step}/{steps}  loss {mean:.4f}  {batch / seconds:.0f} pictures/s", flush=True)
        if checkpoint is not None and step % 500 == 0:
            torch.save({"step": step} | {name: part.state_dict() for name, part in parts.items()}, checkpoint)
    return network.eval()


def resume(checkpoint: Path | None, parts: dict[str, Any]) -> int:
    """Load the parts of a training from a checkpoint, if there is one, and return the steps it has behind it."""
    if checkpoint is None or not checkpoint.exists():
        return 0  # type: ignore
    state = torch.load(checkpoint, weights_only=True)
    for name, part in parts.items():
        part.load_state_dict(state[name])
    return int(state["step"])


def batches(
    pool: Pool, batch: int, seed: int, first: int, steps: int
) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """Yield degraded pictures (B, 3, 96, 96), controls (B, K), identity (B, N) and readable (B,)."""
    for step in range(first, steps):
        random = np.random.default_rng([seed, step])
        chosen = np.sort(random.integers(len(pool.pictures), size=batch))
        pictures = torch.from_numpy(np.stack([degrade(random, pool.pictures[index]) for index in chosen]))
        frames = pictures.permute(0, 3, 1, 2).float() / 127.5 - 1
        controls = torch.from_numpy(pool.controls[chosen][:, TARGETS])
        identity = torch.from_numpy(pool.identity[chosen])
        yield frames, controls, identity, torch.from_numpy(pool.readable[chosen]).float()


def reader_loss(network: ReaderNetwork, frames: Tensor, controls: Tensor, identity: Tensor, readable: Tensor) -> Tensor:
    """Return the weighted smooth L1 loss of controls and identity where readable, plus that of readability itself."""
    guess, logit, person = network(frames)
    weights = torch.tensor([WEIGHTS[name] for name in UNITS])
    error = smooth_l1_loss(guess / network.units, controls / network.units, reduction="none", beta=0.2)
    face = (error * weights).sum(1) / weights.sum()
    likeness = smooth_l1_loss(person, identity, reduction="none", beta=0.1).mean(1)
    seen = binary_cross_entropy_with_logits(logit, readable)
    return ((face + likeness) * readable).sum() / readable.sum().clamp(min=1) + 0.05 * seen


def degrade(random: np.random.Generator, picture: np.ndarray) -> np.ndarray:  # type: ignore
    """Return the uint8 picture (96, 96, 3) shifted, resampled, tinted, noised and compressed, each at times."""
    size = len(picture)
    if random.uniform() < 0.3:
        move = np.array([[1, 0, random.uniform(-2, 2)], [0, 1, random.uniform(-2, 2)]])
        picture = cv2.warpAffine(picture, move, (size, size), borderMode=cv2.BORDER_REPLICATE)
    if random.uniform() < 0.3:
        small = int(random.integers(40, size))
        picture = cv2.resize(picture, (small, small), interpolation=cv2.INTER_AREA)
        picture = cv2.resize(picture, (size, size), interpolation=cv2.INTER_LINEAR)
    elif random.uniform() < 0.25:
        picture = cv2.GaussianBlur(picture, (0, 0), random.uniform(0.3, 1.1))
    if random.uniform() < 0.4:
        gain = random.uniform(0.94, 1.06) * random.uniform(0.97, 1.03, 3)
        picture = np.clip(picture * gain + random.normal(0, 4), 0, 255).astype(np.uint8)
    if random.uniform() < 0.3:
        noise = random.normal(0, random.uniform(1, 6), picture.shape)
        picture = np.clip(picture + noise, 0, 255).astype(np.uint8)
    if random.uniform() < 0.4:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(random.integers(25, 95))]
        stored = cv2.imencode(".jpg", picture[..., ::-1], quality)[1]
        picture = np.asarray(cv2.imdecode(stored, cv2.IMREAD_COLOR))[..., ::-1]
    return picture


def save_reader(network: ReaderNetwork, path: Path) -> None:
    """Write the weights as float16 safetensors."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: value.half().contiguous() for name, value in network.state_dict().items()}, path)  # type: ignore


def main() -> None:
    """Draw the pool, train and save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="where the pool and the checkpoint are kept")
    parser.add_argument("--output", type=Path, required=True, help="safetensors file to write")
    parser.add_argument("--identities", type=int, default=PoolSpec.identities)
    parser.add_argument("--frames", type=int, default=PoolSpec.frames, help="poses per identity")
    parser.add_argument("--steps", type=int, default=7000)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2, help="processes that draw")
    arguments = parser.parse_args()
    spec = PoolSpec(arguments.identities, arguments.frames, arguments.seed)
    pool = draw_pool(arguments.folder, spec, arguments.workers)
    checkpoint = arguments.folder / "training.pt"
    network = train(pool, arguments.steps, arguments.batch, seed=arguments.seed, checkpoint=checkpoint)
    save_reader(network, arguments.output)


if __name__ == "__main__":
    main()
