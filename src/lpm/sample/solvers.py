"""Solvers of the probability-flow ODE as flat functions."""

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor

from lpm.flow import shift_time

Denoise = Callable[[Tensor, float], Tensor]
"""(noisy, t) -> clean."""

Solver = Callable[[Denoise, Tensor, list[float]], Tensor]


def noise_levels(steps: int, shift: float = 1.0) -> list[float]:
    """Return ``steps + 1`` levels from 1 to 0, shifted towards noise.

    >>> noise_levels(2, shift=3.0)
    [1.0, 0.75, 0.0]
    """
    if steps < 1:
        raise ValueError(f"{steps} sampling steps; choose 1 or more, 8 is usual")
    return shift_time(torch.linspace(1, 0, steps + 1, dtype=torch.float64), shift).tolist()


def euler(denoise: Denoise, noise: Tensor, times: list[float]) -> Tensor:
    """Follow straight lines from level to level; one evaluation a step."""
    x = noise
    for t, t_next in pairwise(times):
        clean = denoise(x, t)
        x = clean + (t_next / t) * (x - clean)
    return x


def heun(denoise: Denoise, noise: Tensor, times: list[float]) -> Tensor:
    """Correct each step with the slope at its end; two evaluations a step, one in the last.

    Source: Karras et al. 2022, algorithm 1, on the straight path.
    """
    x = noise
    for t, t_next in pairwise(times):
        slope = (x - denoise(x, t)) / t
        ahead = x + (t_next - t) * slope
        if t_next > 0:
            slope_ahead = (ahead - denoise(ahead, t_next)) / t_next
            ahead = x + (t_next - t) * (slope + slope_ahead) / 2
        x = ahead
    return x
