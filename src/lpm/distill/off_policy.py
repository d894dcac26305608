"""Stage 2: the student learns on its teacher's clips."""

import torch
from torch import Tensor, nn

from lpm.distill.chance import Chance
from lpm.distill.clip import StudentClip, causal_backbone, count_chunks, per_frame
from lpm.distill.perceptual import Perceptual
from lpm.distill.stage import Judged
from lpm.flow import interpolate
from lpm.sample import FewSteps, PerformanceModel
from lpm.types import Conditions


class OffPolicy(nn.Module):
    """Stage 2: chunks of the teacher's clips with noise, each after the teacher's own past, made clean in one step.

    Source: LPM 1.0, Online LPM, stage 2. The perceptual term pulls to the very clip that was noised, which at T0 is
    pure noise and could be any: so each frame's weight falls with its noise, by 1 - t (ours).

    Args:
        steps: levels from which the student predicts, and the level of its history; see ``lpm.sample.backbone_steps``.
        judged: which chunks are judged; ``Judged()`` if None.
        perceptual: distance of the prediction from the teacher's clip; None for none.
        weight: of the perceptual term.
    """

    def __init__(
        self,
        steps: FewSteps,
        judged: Judged | None = None,
        perceptual: Perceptual | None = None,
        weight: float = 0.1,
    ) -> None:
        super().__init__()
        self.steps, self.judged = steps, judged or Judged()
        self.perceptual, self.weight = perceptual, weight

    def begin(self, model: PerformanceModel) -> None:
        """Need nothing."""

    def forward(
        self, model: PerformanceModel, latents_BTCYX: Tensor, conditions: Conditions, fps: float, chance: Chance
    ) -> StudentClip:
        """Return the prediction for chunks with noise; chunks that are not judged are the teacher's.

        The perceptual term is left out where gradients are off.
        """
        network = causal_backbone(model)
        chunks, judged = self.judged.draw(count_chunks(latents_BTCYX.shape[1], network.chunk), chance)
        wanted_BTCYX = latents_BTCYX[:, : 1 + chunks * network.chunk]
        clean = model.coordinates.enter(wanted_BTCYX)
        which_BN = chance.numbers(len(self.steps.levels), len(clean), chunks)
        t_BT = torch.zeros(clean.shape[:2])
        t_BT[:, 1:] = per_frame(torch.tensor(self.steps.levels)[which_BN], network.chunk)
        guess = self.predict(model, clean, t_BT.to(clean), conditions, fps, chance)
        split = 1 + (chunks - judged) * network.chunk
        path = torch.cat([clean[:, :split], guess[:, split:]], dim=1)
        made = self.judged.window(model, path, judged, conditions, fps)
        return made._replace(terms=self._terms(model, made, wanted_BTCYX, t_BT.to(clean)))

    def predict(
        self,
        model: PerformanceModel,
        clean_BTCYX: Tensor,
        t_BT: Tensor,
        conditions: Conditions,
        fps: float,
        chance: Chance,
    ) -> Tensor:
        """Return the clean clip that the student sees in a noisy one, chunk by chunk after a clean or noisy past."""
        noisy = interpolate(clean_BTCYX, chance.noise(clean_BTCYX), t_BT)
        t_history_BT = torch.full_like(t_BT, self.steps.history)
        t_history_BT[:, 0] = 0
        history = interpolate(clean_BTCYX, chance.noise(clean_BTCYX), t_history_BT)
        output = causal_backbone(model).forward_clip(noisy, t_BT, conditions, fps, history, t_history_BT)
        return model.prediction.clean(output, noisy, t_BT)

    def _terms(
        self, model: PerformanceModel, made: StudentClip, wanted_BTCYX: Tensor, t_BT: Tensor
    ) -> dict[str, Tensor]:
        if self.perceptual is None or self.weight == 0 or not torch.is_grad_enabled():  # where nobody learns from it
            return {}
        frames = made.clip_BTCYX.shape[1] - 1
        wanted = torch.cat([wanted_BTCYX[:, :1], wanted_BTCYX[:, -frames:]], dim=1)
        distance_BT = self.perceptual.forward(model.codec, made.clip_BTCYX, wanted)[:, made.given :]
        return {"perceptual": self.weight * (distance_BT * (1 - t_BT[:, made.given - 1 - frames :])).mean()}
