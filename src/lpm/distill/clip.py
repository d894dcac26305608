"""Clips of chunks: points of trajectories, one value per chunk, and the window that a teacher judges."""

from collections.abc import Iterable
from itertools import islice
from typing import NamedTuple

import torch
from torch import Tensor

from lpm.backbone import CausalDiT
from lpm.flow import Coordinates
from lpm.sample import FewSteps, PerformanceModel, add_noise
from lpm.sample.performance import shift_audio
from lpm.sample.rollout import Noise
from lpm.types import Conditions


class StudentClip(NamedTuple):
    """What a student made, as its teacher will see it.

    Attributes:
        clip_BTCYX: codec latents; frame 0 is the picture that the stream began with.
        given: frames at the beginning that are not judged: the picture, and what came just before the others.
        conditions: as these frames hear them.
        terms: further losses of the student, each with its weight.
    """

    clip_BTCYX: Tensor
    given: int
    conditions: Conditions
    terms: dict[str, Tensor]


def last_window(clip_BTCYX: Tensor, conditions: Conditions, judged: int, given: int, span: float) -> StudentClip:
    """Return the last ``judged`` latent frames of a clip, after its picture and at most ``given`` frames before them.

    The Base model continues clips from just that, so a teacher that was trained on short clips can judge a stream of
    any length.

    Args:
        clip_BTCYX: codec latents.
        conditions: of the whole clip.
        judged: latent frames, at least 1.
        given: latent frames.
        span: seconds in a latent frame.
    """
    start = max(0, clip_BTCYX.shape[1] - 1 - judged - given)
    window = torch.cat([clip_BTCYX[:, :1], clip_BTCYX[:, 1 + start :]], dim=1)
    return StudentClip(window, window.shape[1] - judged, shift_audio(conditions, start * span), {})


def per_frame(values_BN: Tensor, chunk: int) -> Tensor:
    """Return the value of each latent frame after the first, given one per chunk: (B, N chunk)."""
    return values_BN.repeat_interleave(chunk, dim=1)


def enter_points(coordinates: Coordinates, points_BSTCYX: Tensor) -> Tensor:
    """Bring codec latents of several points into the space where noise is added."""
    return coordinates.enter(points_BSTCYX.flatten(0, 1)).unflatten(0, points_BSTCYX.shape[:2])


def take(chunks: Iterable[Tensor], count: int, steps: FewSteps, noise: Noise) -> list[Tensor]:
    """Return the first ``count`` chunks of a roll-out; the last one is not remembered, since nobody looks back to it.

    The noise that it would be remembered with is drawn all the same: what is drawn later stays what it was.
    """
    made = list(islice(chunks, count))
    add_noise(made[-1].detach(), steps.history, noise)
    return made


def causal_backbone(model: PerformanceModel) -> CausalDiT:
    """Return the student's network; ValueError if it does not stream."""
    if not isinstance(model.backbone, CausalDiT):
        raise ValueError(f"backbone {type(model.backbone).__name__} does not stream; wrap it in lpm.backbone.CausalDiT")
    return model.backbone


def count_chunks(frames: int, chunk: int) -> int:
    """Return the chunks of a clip of latent frames; ValueError if they do not fill it after the first frame.

    >>> count_chunks(13, chunk=6)
    2
    """
    chunks, rest = divmod(frames - 1, chunk)
    if rest or not chunks:
        raise ValueError(f"{frames} latent frames are not 1 + {chunk} n; cut clips to whole chunks, n of 1 or more")
    return chunks
