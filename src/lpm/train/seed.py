"""Chance as a function of the step: a resumed run draws what the uninterrupted one would have drawn."""

import os
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from lpm.train.shard import replica


class SeedSteps(Callback):
    """Seed PyTorch before every training step with (seed, step, replica).

    Noise levels, noise and dropout of a step then depend on nothing that came before, so that resuming changes
    nothing; processes that read different batches draw different noise, those that share a clip the same.

    Args:
        seed: of the whole run; that of ``seed_everything`` if None, 0 where nothing was seeded.
    """

    def __init__(self, seed: int | None = None) -> None:
        self.seed = seed

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Seed the generators of all devices."""
        number, _ = replica(trainer)
        seed = int(os.environ.get("PL_GLOBAL_SEED", 0)) if self.seed is None else self.seed
        step = trainer.fit_loop.total_batch_idx
        torch.manual_seed(step_seed(seed, step, trainer.global_rank if number is None else number))


def step_seed(seed: int, step: int, replica: int) -> int:
    """Return a seed that differs for every step and replica.

    >>> step_seed(0, 1, 0) != step_seed(0, 0, 1)
    True
    """
    return int(np.random.SeedSequence((seed, step, replica)).generate_state(1, np.uint64)[0])
