"""Distribution matching distillation: the student moves from where it is too often to where the teacher would be."""

import torch
from torch import Tensor, nn

from lpm.flow import interpolate
from lpm.objective import Draw, FlowMatching
from lpm.sample import guide
from lpm.types import Backbone, Conditions


def dmd_gradient(clean_BTCYX: Tensor, teacher_BTCYX: Tensor, fake_BTCYX: Tensor, made_BT: Tensor) -> Tensor:
    """Return the gradient on the student's clean latents: the fake network's guess minus the teacher's, in units of the
    student's mean distance from the teacher's guess; zero on frames that were not made.

    Both networks guess the clean data behind the same noisy point, which is as good as their scores: on a straight path
    the scores differ by (1 - t) / t^2 times the difference of the guesses, and the units take such factors out.
    Sources: Yin et al. 2024, "One-step Diffusion with Distribution Matching Distillation", eqs. 7 and 8.
    """
    made = made_BT[:, :, None, None, None].to(clean_BTCYX)
    numbers = made.sum(dim=(1, 2, 3, 4), keepdim=True) * clean_BTCYX[0, 0].numel()
    distance = ((clean_BTCYX - teacher_BTCYX).abs() * made).sum(dim=(1, 2, 3, 4), keepdim=True) / numbers
    return made * (fake_BTCYX - teacher_BTCYX) / distance.clamp_min(1e-6)


def loss_of_gradient(clean_BTCYX: Tensor, gradient_BTCYX: Tensor, made_BT: Tensor) -> Tensor:
    """Return a loss whose gradient on ``clean_BTCYX`` is the given one over the count of the numbers that were made."""
    target = (clean_BTCYX - gradient_BTCYX).detach()
    return 0.5 * (clean_BTCYX - target).square().mean(dim=(2, 3, 4))[made_BT].mean()


class DMD(nn.Module):
    """The student's loss, and that of the *fake* network, which learns what the student makes as it changes.

    Args:
        matching: noise levels for both, and the fake network's loss; noise path and space as in the teacher's training.
        scales: guidance of the teacher per stream (``lpm.sample.guide``), so that the student needs none.

    Sources: Yin et al. 2024, "One-step Diffusion with Distribution Matching Distillation"; "Improved Distribution
    Matching Distillation" (DMD2), for a fake network that learns faster than the student and no regression.
    """

    def __init__(self, matching: FlowMatching, scales: dict[str, float] | None = None) -> None:
        super().__init__()
        self.matching, self.scales = matching, scales or {}

    def forward(
        self,
        teacher: Backbone,
        fake: Backbone,
        clip_BTCYX: Tensor,
        conditions: Conditions,
        fps: float,
        given: int = 1,
        generator: torch.Generator | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the student's loss for codec latents that it made, and the gradient's mean size.

        The first ``given`` frames are a clean beginning. Neither teacher nor fake network is trained by it.
        """
        clean, draw = self.matching.coordinates.enter(clip_BTCYX), self.matching.draw(clip_BTCYX, given, generator)
        with torch.no_grad():
            real, made_up = self.guesses(teacher, fake, clean, conditions, fps, draw)
            gradient = dmd_gradient(clean, real, made_up, draw.made_BT)
        size = gradient[draw.made_BT].abs().mean()
        return loss_of_gradient(clean, gradient, draw.made_BT), {"gradient": size}

    def guesses(
        self, teacher: Backbone, fake: Backbone, clean_BTCYX: Tensor, conditions: Conditions, fps: float, draw: Draw
    ) -> tuple[Tensor, Tensor]:
        """Return the clean data that teacher and fake network see behind the same noise."""
        t_BT = draw.t_B[:, None] * draw.made_BT
        noisy = interpolate(clean_BTCYX, draw.noise_BTCYX, t_BT)
        real = guide(teacher, noisy, t_BT, conditions, fps, self.scales)
        made_up = fake.forward(noisy, t_BT, conditions, fps)
        clean = self.matching.prediction.clean
        return clean(real, noisy, t_BT), clean(made_up, noisy, t_BT)

    def fake_loss(
        self,
        fake: Backbone,
        clip_BTCYX: Tensor,
        conditions: Conditions,
        fps: float,
        given: int = 1,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Return the fake network's flow-matching loss on what the student made; the student learns nothing."""
        return self.matching(fake, clip_BTCYX.detach(), conditions, fps, given, generator=generator)[0]
