"""Chance in training, as a function of seed, step and rank: a resumed run draws what it would have drawn."""

import numpy as np
import torch
from torch import Tensor


class Chance:
    """What chance decides of one training step.

    Numbers that decide how often a network runs are equal on all ranks, lest one waits for the other; noise is not.
    Noise is drawn on the CPU, so that every device sees the same.

    Args:
        seed: of the run.
        step: of the run, counted from 0.
        rank: of the process.

    >>> one, same = Chance(0, step=3), Chance(0, step=3)
    >>> bool((one.noise(torch.zeros(2)) == same.noise(torch.zeros(2))).all())
    True
    >>> Chance(0, step=3, rank=1).number(0, 100) == Chance(0, step=3, rank=2).number(0, 100)
    True
    """

    def __init__(self, seed: int, step: int, rank: int = 0) -> None:
        self.shared, self.own = generator(seed, step), generator(seed, step, 1 + rank)

    def number(self, low: int, high: int) -> int:
        """Draw low <= n < high, equal on all ranks."""
        return int(torch.randint(low, high, (), generator=self.shared))

    def numbers(self, high: int, *shape: int) -> Tensor:
        """Draw int64 numbers 0 <= n < high, of this rank."""
        return torch.randint(high, shape, generator=self.own)

    def noise(self, like: Tensor) -> Tensor:
        """Draw normal noise of the shape of a tensor, of this rank."""
        return torch.randn(like.shape, generator=self.own, dtype=like.dtype).to(like.device)


def generator(*words: int) -> torch.Generator:
    """Return a generator whose seed depends on every word."""
    return torch.Generator().manual_seed(int(np.random.SeedSequence(words).generate_state(1, np.uint64)[0] >> 1))
