"""Roll-out: chunk after chunk in few steps, through a cache, for streams and for training alike.

All latents here are in the space where noise is added (``lpm.flow.Coordinates``), as the network sees them.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import count, pairwise
from typing import Protocol

import torch
from torch import Tensor

from lpm.flow import Prediction, interpolate
from lpm.nn import KVCache
from lpm.sample.performance import shift_audio
from lpm.sample.solvers import noise_levels
from lpm.types import Conditions

Noise = Callable[[Tensor], Tensor]
"""Draws noise of the shape of a tensor: ``torch.randn_like``, or with a generator of one's own."""


class ChunkNetwork(Protocol):
    """Predicts the next chunk from a cache, and remembers chunks in it: ``lpm.backbone.CausalDiT``."""

    def forward(
        self,
        noisy_BTCYX: Tensor,
        t_BT: Tensor,
        conditions: Conditions,
        fps: float | None = None,
        cache: KVCache | None = None,
    ) -> Tensor:
        """Return the prediction of the next chunk; the cache stays as it is."""
        ...

    def extend(self, latents_BTCYX: Tensor, t_history_BT: Tensor, conditions: Conditions, cache: KVCache) -> None:
        """Remember a chunk."""
        ...


class FewSteps:
    """How a network makes a chunk, and how the chunk is remembered.

    Args:
        levels: noise levels at which the clean chunk is predicted, falling; a chunk starts at the first.
        history: noise level at which the chunk enters the cache.
    """

    def __init__(self, levels: Sequence[float], history: float) -> None:
        if not levels or not all(1 >= a > b > 0 for a, b in pairwise((*levels, 1e-9))):
            raise ValueError(f"levels {levels} do not fall from at most 1 to above 0; give such as (1.0, 0.86)")
        if not 0 <= history < 1:
            raise ValueError(f"history at noise level {history} is outside [0, 1); 0 remembers chunks clean")
        self.levels, self.history = tuple(levels), history


def online_levels(shift: float = 3.0) -> tuple[float, float, float]:
    """Return T0, T1 and T2 of the paper: three even steps from noise to clean, shifted towards noise.

    >>> [round(level, 3) for level in online_levels(3.0)]
    [1.0, 0.857, 0.6]
    """
    first, second, third, _ = noise_levels(3, shift)
    return first, second, third


def backbone_steps(shift: float = 3.0, history: float = 0.2) -> FewSteps:
    """Return the backbone's steps: 2 evaluations, at T0 and T1, and a noisy history (LPM 1.0, Online LPM).

    The paper does not tell the history's noise level. Ours is small: motion must go on across the border of chunks,
    while the faint errors of earlier chunks drown.
    """
    return FewSteps(online_levels(shift)[:2], history)


def refiner_steps(shift: float = 3.0) -> FewSteps:
    """Return the refiner's step: 1 evaluation, at T2, and a clean history (LPM 1.0, Online LPM)."""
    return FewSteps(online_levels(shift)[2:], history=0.0)


def add_noise(clean_BTCYX: Tensor, level: float, noise: Noise = torch.randn_like) -> Tensor:
    """Return clean latents with fresh noise at one level; at level 0 as they are."""
    if level == 0:
        return clean_BTCYX
    return interpolate(clean_BTCYX, noise(clean_BTCYX), at_level(level, clean_BTCYX))


def make_chunk(
    network: ChunkNetwork,
    start_BTCYX: Tensor,
    conditions: Conditions,
    cache: KVCache,
    prediction: Prediction,
    steps: FewSteps,
    noise: Noise = torch.randn_like,
    last: int | None = None,
) -> Tensor:
    """Return the next chunk, clean: predicted, noised to the next level, predicted again.

    Only the last prediction has a gradient. ``conditions`` count time from the last video frame before the chunk.

    Args:
        start_BTCYX: the chunk at the first level: noise, or for a refiner what is to be refined.
        last: index of the level whose prediction is returned, the last one's if None; training exits early at random.

    Source: few-step sampling of consistency models (Song et al. 2023, algorithm 1), as in DMD2 (Yin et al. 2024).
    """
    noisy, end = start_BTCYX, len(steps.levels) - 1 if last is None else last
    for level, lower in pairwise(steps.levels[: end + 1]):
        with torch.no_grad():
            noisy = add_noise(predict(network, noisy, level, conditions, cache, prediction), lower, noise)
    return predict(network, noisy, steps.levels[end], conditions, cache, prediction)


def predict(
    network: ChunkNetwork,
    noisy_BTCYX: Tensor,
    level: float,
    conditions: Conditions,
    cache: KVCache,
    prediction: Prediction,
) -> Tensor:
    """Return the clean chunk that the network sees in a noisy one."""
    t_BT = at_level(level, noisy_BTCYX)
    return prediction.clean(network.forward(noisy_BTCYX, t_BT, conditions, cache=cache), noisy_BTCYX, t_BT)


def remember(
    network: ChunkNetwork,
    clean_BTCYX: Tensor,
    conditions: Conditions,
    cache: KVCache,
    steps: FewSteps,
    noise: Noise = torch.randn_like,
) -> None:
    """Put a clean chunk into the cache, at the noise level of the history."""
    latents = add_noise(clean_BTCYX, steps.history, noise)
    network.extend(latents, at_level(steps.history, latents), conditions, cache)


def roll_out(
    network: ChunkNetwork,
    starts: Iterable[Tensor],
    heard: Iterable[Conditions],
    cache: KVCache,
    prediction: Prediction,
    steps: FewSteps,
    noise: Noise = torch.randn_like,
    last: int | None = None,
    learn_from: int = 0,
    through_history: bool = False,
) -> Iterator[Tensor]:
    """Yield clean chunks, one for each of ``starts``; a chunk is remembered when the next one is asked for.

    A refiner's starts are a backbone's chunks with noise, which may come out of another roll-out as they are made::

        chunks = roll_out(backbone, noises, heard, cache, prediction, backbone_steps())
        starts = (add_noise(chunk, steps.levels[0]) for chunk in chunks)
        refined = roll_out(refiner, starts, heard, other_cache, prediction, steps)

    While gradients are on, a chunk's gradient ends at its own last prediction, at the pictures, and where the history
    begins.

    Args:
        heard: the conditions of each chunk, such as ``hear(conditions, seconds)``.
        last: as in ``make_chunk``.
        learn_from: predictions of chunks before this one carry no gradient.
        through_history: let gradients flow from chunk to chunk, through the cache: also through the passes that
            remember chunks before ``learn_from``, whose memory grows with the roll-out.

    Source: Self Forcing (Huang et al. 2025): training on the student's own past.
    """
    for index, (start, conditions) in enumerate(zip(starts, heard)):
        with torch.set_grad_enabled(torch.is_grad_enabled() and index >= learn_from):
            clean = make_chunk(network, start, conditions, cache, prediction, steps, noise, last)
        yield clean
        with torch.set_grad_enabled(torch.is_grad_enabled() and through_history):
            remember(network, clean if through_history else clean.detach(), conditions, cache, steps, noise)


def hear(conditions: Conditions, seconds: float) -> Iterator[Conditions]:
    """Yield what chunks of the given length hear, one after the other, for ever."""
    for index in count():
        yield shift_audio(conditions, index * seconds)


def at_level(level: float, like_BTCYX: Tensor) -> Tensor:
    """Return one noise level for all latent frames, (B, T)."""
    return torch.full(like_BTCYX.shape[:2], level, dtype=like_BTCYX.dtype, device=like_BTCYX.device)
