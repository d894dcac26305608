"""The noise path of flow matching: one truth for the loss, the samplers and distillation.

A sample travels on a straight line from noise (t = 1) to clean data (t = 0). Noise levels are per latent frame,
so that clean history (t = 0) and noisy frames share one sequence.
"""

from typing import Protocol

import torch
from torch import Tensor


def _as_video(t_BT: Tensor) -> Tensor:
    return t_BT[:, :, None, None, None]


def interpolate(clean_BTCYX: Tensor, noise_BTCYX: Tensor, t_BT: Tensor) -> Tensor:
    """Return the point at ``t`` on the straight path from clean data (t = 0) to noise (t = 1).

    >>> interpolate(torch.zeros(1, 1, 1, 1, 1), torch.ones(1, 1, 1, 1, 1), torch.tensor([[0.25]])).item()
    0.25
    """
    t = _as_video(t_BT)
    return (1 - t) * clean_BTCYX + t * noise_BTCYX


def velocity(clean_BTCYX: Tensor, noise_BTCYX: Tensor) -> Tensor:
    """Return d(path)/dt, the same everywhere on the straight path: noise minus clean."""
    return noise_BTCYX - clean_BTCYX


def clean_from_velocity(velocity_BTCYX: Tensor, noisy_BTCYX: Tensor, t_BT: Tensor) -> Tensor:
    """Return the clean data that the velocity points away from: ``x_t - t v``."""
    return noisy_BTCYX - _as_video(t_BT) * velocity_BTCYX


def velocity_from_clean(clean_BTCYX: Tensor, noisy_BTCYX: Tensor, t_BT: Tensor, floor: float = 1e-4) -> Tensor:
    """Return the velocity at ``x_t`` towards noise: ``(x_t - x_0) / t``; ``floor`` guards the division at t = 0."""
    return (noisy_BTCYX - clean_BTCYX) / _as_video(t_BT).clamp_min(floor)


def shift_time(t: Tensor, shift: float) -> Tensor:
    """Move noise levels towards noise: ``s t / (1 + (s - 1) t)``; ``shift`` 1 changes nothing.

    Source: Esser et al. 2024, "Scaling Rectified Flow Transformers", resolution-dependent shift.

    >>> shift_time(torch.tensor([0.0, 0.5, 1.0]), 3.0).tolist()
    [0.0, 0.75, 1.0]
    """
    if shift <= 0:
        raise ValueError(f"time shift of {shift} is not positive; use 1 for none, 3 to 8 for more time at high noise")
    return shift * t / (1 + (shift - 1) * t)


class Prediction(Protocol):
    """How a network's output is read."""

    def clean(self, output_BTCYX: Tensor, noisy_BTCYX: Tensor, t_BT: Tensor) -> Tensor:
        """Return the clean data that the output stands for."""
        ...


class PredictVelocity:
    """The network answers with the velocity (the paper's target)."""

    def clean(self, output_BTCYX: Tensor, noisy_BTCYX: Tensor, t_BT: Tensor) -> Tensor:
        """Return ``x_t - t v``."""
        return clean_from_velocity(output_BTCYX, noisy_BTCYX, t_BT)


class PredictClean:
    """The network answers with clean data: better where the token is wide for the network's width."""

    def clean(self, output_BTCYX: Tensor, noisy_BTCYX: Tensor, t_BT: Tensor) -> Tensor:
        """Return the output itself."""
        return output_BTCYX


class PredictPreconditioned:
    """The network answers with what the best linear guess of the clean data misses, in units of its deviation.

    For data of deviation ``d``, ``clean = c_skip x_t + c_out output`` with ``c_skip = (1 - t) d^2 / v``, ``c_out = t d /
    sqrt(v)`` and ``v = (1 - t)^2 d^2 + t^2``. Near noise that is ``PredictClean`` in units of ``d``; near clean data the
    input passes by the network, which a token wider than the network cannot pass through it.

    Source: Karras et al. 2022, "Elucidating the Design Space of Diffusion-Based Generative Models", table 1, on the
    straight path.

    Args:
        deviation: of the data in the space where noise is added, at the places that matter least: what little moves
            there must not keep the noise.
    """

    def __init__(self, deviation: float = 0.5) -> None:
        if deviation <= 0:
            raise ValueError(f"deviation of {deviation} is not positive; measure it with lpm.flow.residual_scale")
        self.deviation = deviation

    def clean(self, output_BTCYX: Tensor, noisy_BTCYX: Tensor, t_BT: Tensor) -> Tensor:
        """Return ``c_skip x_t + c_out output``."""
        t, d = _as_video(t_BT), self.deviation
        variance = (1 - t) ** 2 * d**2 + t**2
        return (1 - t) * d**2 / variance * noisy_BTCYX + t * d * variance.rsqrt() * output_BTCYX


class Coordinates(Protocol):
    """The space in which noise is added; frame 0, the clean first frame, is the same in every space."""

    def enter(self, latents_BTCYX: Tensor) -> Tensor:
        """Codec latents -> the space of the noise path."""
        ...

    def leave(self, latents_BTCYX: Tensor) -> Tensor:
        """The space of the noise path -> codec latents."""
        ...


class Absolute:
    """Noise is added to the codec's latents as they are."""

    def enter(self, latents_BTCYX: Tensor) -> Tensor:
        """Return the latents unchanged."""
        return latents_BTCYX

    def leave(self, latents_BTCYX: Tensor) -> Tensor:
        """Return the latents unchanged."""
        return latents_BTCYX


class Residual:
    """Noise is added to the difference from the first frame, divided by ``scale``.

    A small network then starts from a still picture and spends its capacity on motion. Motion is concentrated: choose a
    ``scale`` at which the places that move, lips and eyes, have about unit variance or less. Divided by the deviation
    over the whole picture (``residual_scale``) they stand far above the noise at nearly every noise level, and the
    network reads the lips off its noisy input where it should learn to hear (docs/how/flow-matching.md has figures).
    """

    def __init__(self, scale: float = 1.0) -> None:
        if scale <= 0:
            raise ValueError(f"residual scale of {scale} is not positive; measure it with lpm.flow.residual_scale")
        self.scale = scale

    def enter(self, latents_BTCYX: Tensor) -> Tensor:
        """Return the first frame as it is, the others as scaled differences from it."""
        first = latents_BTCYX[:, :1]
        return torch.cat([first, (latents_BTCYX[:, 1:] - first) / self.scale], dim=1)

    def leave(self, latents_BTCYX: Tensor) -> Tensor:
        """Undo ``enter``."""
        first = latents_BTCYX[:, :1]
        return torch.cat([first, latents_BTCYX[:, 1:] * self.scale + first], dim=1)


def residual_scale(latents_BTCYX: Tensor) -> float:
    """Return the deviation of the difference from the first frame, a lower bound for the ``scale`` of ``Residual``."""
    return float((latents_BTCYX[:, 1:] - latents_BTCYX[:, :1]).std())
