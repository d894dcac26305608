"""Flow matching with clean history frames."""

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

    The variance over time of the clip's latents, over its mean: lips and eyes count more than the background. A clip
    without motion weighs 1 everywhere.
    """
    moved = latents_BTCYX - latents_BTCYX.mean(dim=1, keepdim=True)
    variance = moved.square().mean(dim=(1, 2), keepdim=True)
    mean = variance.mean(dim=(-2, -1), keepdim=True)
    return ((variance + 1e-4) / (mean + 1e-4)).clamp(low, high)


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
        history_noise: standard deviation of noise on the history that the network sees, so that roll-outs may err.
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
        history: int = 1,
        state_BT: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss and its parts.

        ``latents_BTCYX`` are codec latents whose first ``history`` frames are given clean; ``state_BT`` is the state of
        each latent frame, for the report only.
        """
        batch, frames = latents_BTCYX.shape[:2]
        if not 1 <= history < frames:
            raise ValueError(f"history of {history} of {frames} latent frames; it must be 1 to {frames - 1}")
        clean = self.coordinates.enter(latents_BTCYX)
        t_B = sample_times(batch, self.time_mean, self.time_std, generator).to(clean)
        t_BT = t_B[:, None].repeat(1, frames)
        t_BT[:, :history] = 0
        noise = _normal_like(clean, generator)
        noisy = self._roughen(interpolate(clean, noise, t_BT), history, generator)
        guess = self.prediction.clean(backbone.forward(noisy, t_BT, conditions, fps), noisy, t_BT)

        error = (guess - clean)[:, history:].square()
        if self.motion:
            error = error * motion_weight(latents_BTCYX)
        error_BT = error.mean(dim=(2, 3, 4))
        weight_B = t_B.clamp_min(self.floor) ** -2
        loss_BT = error_BT * weight_B[:, None]
        return loss_BT.mean(), self.report(loss_BT.detach(), t_B, None if state_BT is None else state_BT[:, history:])

    def _roughen(self, noisy_BTCYX: Tensor, history: int, generator: torch.Generator | None) -> Tensor:
        """Disturb the history that the network sees; the target does not change, lest it learns to retouch pictures."""
        if self.history_noise == 0:
            return noisy_BTCYX
        given = noisy_BTCYX[:, :history]
        rough = given + self.history_noise * _normal_like(given, generator)
        return torch.cat([rough, noisy_BTCYX[:, history:]], dim=1)

    @staticmethod
    def report(loss_BT: Tensor, t_B: Tensor, state_BT: Tensor | None) -> dict[str, Tensor]:
        """Return the mean loss by quarter of the noise level and by state; absent groups are left out."""
        parts = {}
        for quarter in range(4):
            rows = (t_B >= quarter / 4) & (t_B < (quarter + 1) / 4)
            parts[f"loss_t{quarter * 25}"] = loss_BT[rows]
        if state_BT is not None:
            for index, name in enumerate(STATES):
                parts[f"loss_{name}"] = loss_BT[state_BT == index]
        return {name: values.mean() for name, values in parts.items() if values.numel()}


def _normal_like(x: Tensor, generator: torch.Generator | None) -> Tensor:
    device = generator.device if generator else x.device
    return torch.randn(x.shape, generator=generator, dtype=x.dtype, device=device).to(x.device)
