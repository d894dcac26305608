"""Offline generation of a clip, and its continuation."""

import torch
from torch import Tensor

from lpm.flow import Coordinates, Prediction
from lpm.sample.guidance import guide
from lpm.sample.schedule import Schedule, scales_at
from lpm.sample.solvers import Solver, euler, noise_levels
from lpm.types import Backbone, Conditions


class ClipSampler:
    """Generate latents after a clean beginning.

    Args:
        prediction: how the network's output is read; as in training.
        coordinates: where noise is added; as in training.
        steps: solver steps.
        shift: time shift towards noise.
        scales: guidance scale by stream (text, speak, listen, references); 1 or absent is none.
        solver: ``euler`` if None.
        schedule: share of the guidance by noise level, such as ``GuidanceInterval(0.8, 1.0)``; everywhere if None.

    Raises:
        ValueError: a schedule that switches guidance off at every noise level of the steps.
    """

    def __init__(
        self,
        prediction: Prediction,
        coordinates: Coordinates,
        steps: int = 2,
        shift: float = 3.0,
        scales: dict[str, float] | None = None,
        solver: Solver | None = None,
        schedule: Schedule | None = None,
    ) -> None:
        self.prediction, self.coordinates = prediction, coordinates
        self.times = noise_levels(steps, shift)
        self.scales = scales or {}
        self.solver, self.schedule = solver or euler, schedule
        if schedule is not None and not any(map(schedule, self.times[:-1])):
            levels = ", ".join(f"{t:.3g}" for t in self.times[:-1])
            raise ValueError(f"the schedule guides at none of the noise levels {levels}; widen it or take more steps")

    @torch.no_grad()
    def sample(
        self,
        backbone: Backbone,
        history_BTCYX: Tensor,
        frames: int,
        conditions: Conditions,
        fps: float,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Return codec latents (B, frames, C, Y, X) that begin with the given clean history.

        History frame 0 is a picture encoded alone; times in ``conditions`` count from the last video frame before the
        next one (history frame 0 itself, where the clip begins there).
        """
        batch, history = history_BTCYX.shape[:2]
        if not 1 <= history < frames:
            raise ValueError(f"history of {history} latent frames for a clip of {frames}; it must be 1 to {frames - 1}")
        if conditions.negative is not None and self.scales.get("text", 1.0) == 1.0:
            raise ValueError("a negative prompt does nothing without guidance of text; give text a scale such as 3")
        given = self.coordinates.enter(history_BTCYX)

        def denoise(noisy: Tensor, t: float) -> Tensor:
            whole = torch.cat([given, noisy], dim=1)
            t_BT = torch.full((batch, frames), t, dtype=noisy.dtype, device=noisy.device)
            t_BT[:, :history] = 0
            output = guide(backbone, whole, t_BT, conditions, fps, scales_at(self.scales, self.schedule, t))
            return self.prediction.clean(output, whole, t_BT)[:, history:]

        shape = (batch, frames - history, *history_BTCYX.shape[2:])
        noise = torch.randn(shape, generator=generator, device=generator.device if generator else None).to(given)
        made = self.coordinates.leave(torch.cat([given, self.solver(denoise, noise, self.times)], dim=1))
        return torch.cat([history_BTCYX, made[:, history:]], dim=1)

    def extend(
        self,
        backbone: Backbone,
        clip_BTCYX: Tensor,
        keep: int,
        frames: int,
        conditions: Conditions,
        fps: float,
        generator: torch.Generator | None = None,
        again: int = 0,
    ) -> Tensor:
        """Return the clip with ``frames`` latent frames more, made from its frame 0 and the ``keep`` frames before.

        Frame 0 is a picture that no network made; the look of every continuation comes from there. The last ``again``
        frames of the clip are made once more, and faded over from the old ones to the new. Times in ``conditions``
        count from the last video frame before the kept ones.

        Raises:
            ValueError: ``keep`` is not 1 to the frames between frame 0 and those made again (0 where there are none).
        """
        settled = clip_BTCYX.shape[1] - again
        later = settled - 1
        least = min(1, later)
        if not least <= keep <= later:
            raise ValueError(f"keep of {keep} latent frames of {later} after the first; it must be {least} to {later}")
        given = torch.cat([clip_BTCYX[:, :1], clip_BTCYX[:, settled - keep : settled]], dim=1)
        longer = self.sample(backbone, given, 1 + keep + again + frames, conditions, fps, generator)
        faded = fade(clip_BTCYX[:, settled:], longer[:, 1 + keep : 1 + keep + again])
        return torch.cat([clip_BTCYX[:, :settled], faded, longer[:, 1 + keep + again :]], dim=1)


def fade(old_BTCYX: Tensor, new_BTCYX: Tensor) -> Tensor:
    """Return latents that turn from old to new in equal steps over their T frames.

    Source: LPM 1.0, long video, blends the latents where chunks overlap; the straight ramp is ours.

    >>> fade(torch.zeros(1, 3, 1, 1, 1), torch.ones(1, 3, 1, 1, 1)).flatten().tolist()
    [0.25, 0.5, 0.75]
    """
    frames = new_BTCYX.shape[1]
    share_T = torch.arange(1, frames + 1, dtype=new_BTCYX.dtype, device=new_BTCYX.device) / (frames + 1)
    return torch.lerp(old_BTCYX, new_BTCYX, share_T[:, None, None, None])
