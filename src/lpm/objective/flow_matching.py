"""Flow matching with clean history frames."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from lpm.flow import Coordinates, Prediction, interpolate
from lpm.types import STATES, Backbone, Conditions


def sample_times(batch: int, mean: float, std: float, generator: torch.Generator | None = None) -> Tensor:
    """Draw one noise level in (0, 1) per row, logit-normal; a positive mean favours noise.

    Source: Esser et al. 2024, "Scaling Rectified Flow Transformers".
    """
    return torch.sigmoid(mean + std * torch.randn(batch, generator=generator))


def motion_weight(latents_BTCYX: Tensor, low: float = 0.6, high: float = 6.0) -> Tensor:
    """Return how much each place moves relative to the whole picture, (B, 1, 1, Y, X), within [low, high].

    The variance over time of the latents after frame 0, over its mean: lips and eyes count more than the background. A
    clip without motion weighs 1 everywhere.
    """
    later = latents_BTCYX[:, 1:]
    moved = later - later.mean(dim=1, keepdim=True)
    variance = moved.square().mean(dim=(1, 2), keepdim=True)
    mean = variance.mean(dim=(-2, -1), keepdim=True)
    return ((variance + 1e-4) / (mean + 1e-4)).clamp(low, high)


class Draw(NamedTuple):
    """What chance decides of one training step: the same draw may be applied to several clips and networks.

    Attributes:
        made_BT: which frames the network makes; the others are given.
        t_B: noise level of the frames that are made.
        noise_BTCYX: the noise itself.
        rough_BTCYX: what disturbs the history that the network sees; None for nothing.
    """

    made_BT: Tensor
    t_B: Tensor
    noise_BTCYX: Tensor
    rough_BTCYX: Tensor | None


class FlowMatching(nn.Module):
    """Flow-matching loss on the frames after the clean history.

    The loss is the squared error of the clean data over ``max(t, floor)^2``: the velocity's squared error, tamed where
    little noise is left. A ``floor`` near 0 is the paper's plain velocity loss.

    Args:
        prediction: how the network's output is read, such as ``lpm.flow.PredictClean()``.
        coordinates: where noise is added, such as ``lpm.flow.Residual(scale)``.
        floor: smallest noise level in the weight.
        motion: weigh places by their motion.
        time_mean: logit mean of noise levels; 0 symmetric, positive noisier.
        time_std: logit standard deviation of noise levels.
        history_noise: largest standard deviation of noise on the history after frame 0 that the network sees, so that
            roll-outs may err.
    """

    def __init__(
        self,
        prediction: Prediction,
        coordinates: Coordinates,
        floor: float = 0.4,
        motion: bool = True,
        time_mean: float = 1.0,
        time_std: float = 1.0,
        history_noise: float = 0.0,
    ) -> None:
        super().__init__()
        if not 0 < floor <= 1:
            raise ValueError(f"floor of {floor} is outside (0, 1]; choose .4, or .001 for the plain velocity loss")
        self.prediction, self.coordinates = prediction, coordinates
        self.floor, self.motion = floor, motion
        self.time_mean, self.time_std = time_mean, time_std
        self.history_noise = history_noise

    def forward(
        self,
        backbone: Backbone,
        latents_BTCYX: Tensor,
        conditions: Conditions,
        fps: float,
        history: int | Tensor = 1,
        state_BT: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss and its parts.

        The first ``history`` frames of ``latents_BTCYX``, one number or one per row (B,), are given clean;
        ``state_BT`` is the state of each latent frame, for the report only.
        """
        draw = self.draw(latents_BTCYX, history, generator)
        loss_BT = self.errors(backbone, latents_BTCYX, conditions, fps, draw)
        return loss_BT[draw.made_BT].mean(), self.report(loss_BT.detach(), draw.t_B, draw.made_BT, state_BT)

    def draw(self, latents_BTCYX: Tensor, history: int | Tensor = 1, generator: torch.Generator | None = None) -> Draw:
        """Draw noise levels and noise for latents of this shape."""
        batch, frames = latents_BTCYX.shape[:2]
        history_B = torch.as_tensor(history).expand(batch)
        if not ((history_B >= 1) & (history_B < frames)).all():
            raise ValueError(f"history of {history} of {frames} latent frames; it must be 1 to {frames - 1}")
        made_BT = (torch.arange(frames) >= history_B.cpu()[:, None]).to(latents_BTCYX.device)
        t_B = sample_times(batch, self.time_mean, self.time_std, generator).to(latents_BTCYX)
        noise = _normal_like(latents_BTCYX, generator)
        return Draw(made_BT, t_B, noise, self._roughness(noise, made_BT, generator))

    def errors(
        self, backbone: Backbone, latents_BTCYX: Tensor, conditions: Conditions, fps: float, draw: Draw
    ) -> Tensor:
        """Return the weighted squared error of each frame, (B, T); it means something where ``draw.made_BT``."""
        return self.weigh(self.guess(backbone, latents_BTCYX, conditions, fps, draw), latents_BTCYX, draw)

    def guess(
        self, backbone: Backbone, latents_BTCYX: Tensor, conditions: Conditions, fps: float, draw: Draw
    ) -> Tensor:
        """Return the clean data that the network sees behind the drawn noise, in ``coordinates``, (B, T, C, Y, X)."""
        t_BT = draw.t_B[:, None] * draw.made_BT
        noisy = interpolate(self.coordinates.enter(latents_BTCYX), draw.noise_BTCYX, t_BT)
        if draw.rough_BTCYX is not None:
            noisy = noisy + draw.rough_BTCYX
        return self.prediction.clean(backbone.forward(noisy, t_BT, conditions, fps), noisy, t_BT)

    def weigh(self, guess_BTCYX: Tensor, latents_BTCYX: Tensor, draw: Draw) -> Tensor:
        """Return the weighted squared error of each frame of a guess, (B, T)."""
        error = (guess_BTCYX - self.coordinates.enter(latents_BTCYX)).square()
        if self.motion:
            error = error * motion_weight(latents_BTCYX)
        return error.mean(dim=(2, 3, 4)) * draw.t_B.clamp_min(self.floor)[:, None] ** -2

    def _roughness(self, like_BTCYX: Tensor, made_BT: Tensor, generator: torch.Generator | None) -> Tensor | None:
        """Draw what disturbs the history after frame 0 that the network sees, each row to a degree of its own.

        The target does not change, lest the network learns to retouch pictures; nor does frame 0, which no network
        made.
        """
        if self.history_noise == 0:
            return None
        rough_BT = ~made_BT
        rough_BT[:, 0] = False
        degree_B = torch.rand(len(like_BTCYX), generator=generator).to(like_BTCYX) * self.history_noise
        strength_BT = rough_BT * degree_B[:, None]
        return strength_BT[:, :, None, None, None] * _normal_like(like_BTCYX, generator)

    @staticmethod
    def report(loss_BT: Tensor, t_B: Tensor, made_BT: Tensor, state_BT: Tensor | None) -> dict[str, Tensor]:
        """Return the mean loss of the frames that were made, by quarter of the noise level and by state; absent groups
        are left out.
        """
        parts = {}
        for quarter in range(4):
            rows = (t_B >= quarter / 4) & (t_B < (quarter + 1) / 4)
            parts[f"loss_t{quarter * 25}"] = loss_BT[rows[:, None] & made_BT]
        if state_BT is not None:
            for index, name in enumerate(STATES):
                parts[f"loss_{name}"] = loss_BT[(state_BT == index) & made_BT]
        return {name: values.mean() for name, values in parts.items() if values.numel()}


def _normal_like(x: Tensor, generator: torch.Generator | None) -> Tensor:
    device = generator.device if generator else x.device
    return torch.randn(x.shape, generator=generator, dtype=x.dtype, device=device).to(x.device)
