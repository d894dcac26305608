"""The three stages of a stream: generator, refiner, decoder. Each changes its own part of the session and no other.

So the generator may be at chunk n while the refiner is at n - 1 and the decoder at n - 2, in any order: what comes out
is the same. Source: LPM 1.0, streaming inference.
"""

import sys
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from lpm.backbone import CausalDiT
from lpm.flow import Coordinates, Prediction
from lpm.nn import KVCache, Stored, send
from lpm.sample import FewSteps, add_noise, make_chunk, remember
from lpm.stream.session import Session
from lpm.stream.work import Work
from lpm.types import Codec, Conditions

GUIDED = ("text", "speak", "listen")
LARGEST = sys.float_info.max


class Stage(Protocol):
    """Does its part of a chunk's work."""

    def __call__(self, work: Work, session: Session) -> Work:
        """Return the work, gone further; chunks must come in order."""
        ...


class ChunkNoise:
    """Normal noise that depends on seed, chunk, stage and the number of the draw: not on who asks first, nor where.

    >>> like = torch.zeros(1, 2, 4, 3, 3)
    >>> bool((ChunkNoise(0, 7, 0)(like) == ChunkNoise(0, 7, 0)(like)).all())
    True
    """

    def __init__(self, seed: int, chunk: int, stage: int) -> None:
        state = np.random.SeedSequence((seed, chunk, stage)).generate_state(1)[0]
        self.generator = torch.Generator().manual_seed(int(state))

    def __call__(self, like: Tensor) -> Tensor:
        """Draw noise of the shape, type and device of ``like``."""
        return send(torch.randn(like.shape, generator=self.generator).to(like.dtype), like.device)


@dataclass(frozen=True)
class Guided:
    """A causal network with guidance: ``full + sum over streams (scale - 1) (full - without the stream)``.

    All look back to the same history, one after the other, so guidance costs time but no memory. Pictures are part of
    the history; they cannot be guided here.
    """

    network: CausalDiT
    scales: dict[str, float]

    def forward(
        self,
        noisy_BTCYX: Tensor,
        t_BT: Tensor,
        conditions: Conditions,
        fps: float | None = None,
        cache: KVCache | None = None,
    ) -> Tensor:
        """Return the guided prediction of the next chunk."""
        full = self.network(noisy_BTCYX, t_BT, conditions, fps, cache)
        guided = full
        for stream, scale in self.scales.items():
            if scale != 1:
                without = replace(conditions, **{stream: None})  # type: ignore[arg-type]
                guided = guided + (scale - 1) * (full - self.network(noisy_BTCYX, t_BT, without, fps, cache))
        return guided

    def extend(self, latents_BTCYX: Tensor, t_history_BT: Tensor, conditions: Conditions, cache: KVCache) -> None:
        """Remember a chunk as it was heard, unguided."""
        self.network.extend(latents_BTCYX, t_history_BT, conditions, cache)


@dataclass(frozen=True)
class Generator:
    """Noise -> latents of a chunk, in few steps, looking back to its own history."""

    network: CausalDiT
    prediction: Prediction
    steps: FewSteps
    stored: type[Stored] | None = None
    turn_once: bool = False

    def __call__(self, work: Work, session: Session) -> Work:
        """Make the chunk and remember it; with the first chunk, the pictures are remembered."""
        visual, noise = session.visual, ChunkNoise(session.seed, work.chunk, 0)
        if visual.cache is None:
            visual.cache = first_cache(self, work, session)
        network, first = Guided(self.network, work.scales), visual.picture_BCYX
        start = noise(first.new_empty(len(first), self.network.chunk, *first.shape[1:]))
        clean = make_chunk(network, start, work.conditions, visual.cache, self.prediction, self.steps, noise)
        remember(network, clean, work.conditions, visual.cache, self.steps, noise)
        return replace(work, latents_BTCYX=clean)


@dataclass(frozen=True)
class Refiner:
    """Latents -> latents with detail, from a little noise, looking back to what was refined before."""

    network: CausalDiT
    prediction: Prediction
    steps: FewSteps
    stored: type[Stored] | None = None
    turn_once: bool = False

    def __call__(self, work: Work, session: Session) -> Work:
        """Refine the chunk and remember it."""
        assert work.latents_BTCYX is not None, "the generator comes before the refiner"
        visual, noise = session.visual, ChunkNoise(session.seed, work.chunk, 1)
        if visual.refiner_cache is None:
            visual.refiner_cache = first_cache(self, work, session)
        cache, start = visual.refiner_cache, add_noise(work.latents_BTCYX, self.steps.levels[0], noise)
        clean = make_chunk(self.network, start, work.conditions, cache, self.prediction, self.steps, noise)
        remember(self.network, clean, work.conditions, cache, self.steps, noise)
        return replace(work, latents_BTCYX=clean)


@dataclass(frozen=True)
class Decoder:
    """Latents -> video frames."""

    codec: Codec
    coordinates: Coordinates

    def __call__(self, work: Work, session: Session) -> Work:
        """Decode the chunk; the first picture comes out with the first one."""
        assert work.latents_BTCYX is not None, "the generator comes before the decoder"
        visual = session.visual
        latents = self.coordinates.leave(torch.cat([visual.picture_BCYX[:, None], work.latents_BTCYX], dim=1))
        new = latents if work.chunk == 0 else latents[:, 1:]
        video, visual.decoding = self.codec.decode_step(new, visual.decoding)
        return replace(work, latents_BTCYX=latents[:, 1:], video_BTCHW=video.clamp(-1, 1))


def first_cache(stage: Generator | Refiner, work: Work, session: Session) -> KVCache:
    """Return the memory of a new stream, which reads the conditions of its first chunk."""
    picture_BCYX = session.visual.picture_BCYX
    return stage.network.init_cache(picture_BCYX, work.conditions, session.fps, stage.stored, stage.turn_once)


def check_scales(scales: dict[str, float]) -> dict[str, float]:
    """Return guidance scales that a stream can follow; ValueError names the others, and those that are not finite."""
    unknown = sorted(set(scales) - set(GUIDED))
    if unknown:
        raise ValueError(f"guidance of {', '.join(unknown)}; a stream guides {', '.join(GUIDED)}")
    for stream, scale in scales.items():
        if not is_finite(scale):
            raise ValueError(f"guidance of {stream} of {scale!r} is no finite number")
    return scales


def is_finite(value: Any) -> bool:
    """Tell whether a value is a number that a float can hold."""
    return type(value) in (int, float) and -LARGEST <= value <= LARGEST
