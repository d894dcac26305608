"""Stage 4: a second network learns to refine the roll-outs of the first."""

import copy

import torch
from torch import Tensor, nn

from lpm.backbone import CausalDiT
from lpm.distill.chance import Chance
from lpm.distill.clip import StudentClip, causal_backbone, count_chunks, take
from lpm.distill.stage import Judged
from lpm.sample import FewSteps, PerformanceModel, add_noise, hear, roll_out
from lpm.sample.pretrained import load_weights, read_weights
from lpm.types import Conditions


class Refine(nn.Module):
    """Stage 4: a refiner's roll-out with a clean history, from a frozen backbone's own roll-out with noise.

    Source: LPM 1.0, Online LPM, stage 4.

    Args:
        steps: of the refiner; see ``lpm.sample.refiner_steps``.
        backbone_steps: of the backbone.
        backbone: checkpoint or weights folder of the backbone; the weights that the refiner begins with if None. The
            two have one shape.
        judged: as in ``OnPolicy``.
    """

    def __init__(
        self, steps: FewSteps, backbone_steps: FewSteps, backbone: str | None = None, judged: Judged | None = None
    ) -> None:
        super().__init__()
        self.steps, self.backbone_steps, self.judged = steps, backbone_steps, judged or Judged()
        self.backbone = backbone
        self._frozen: list[CausalDiT] = []  # in a list: no part of checkpoints

    def begin(self, model: PerformanceModel) -> None:
        """Make the backbone: a copy of the student with weights of its own."""
        frozen = copy.deepcopy(model, {id(model.codec): model.codec})
        if self.backbone is not None:
            load_weights(frozen, read_weights(self.backbone))
        self._frozen = [causal_backbone(frozen).requires_grad_(False).eval()]

    def forward(
        self, model: PerformanceModel, latents_BTCYX: Tensor, conditions: Conditions, fps: float, chance: Chance
    ) -> StudentClip:
        """Return a refined roll-out; of the teacher's clip only the picture and the length are used."""
        network = causal_backbone(model)
        chunks, judged = self.judged.draw(count_chunks(latents_BTCYX.shape[1], network.chunk), chance)
        picture_BCYX = latents_BTCYX[:, 0]
        noises = [chance.noise(latents_BTCYX[:, 1 : 1 + network.chunk]) for _ in range(chunks)]
        made = roll_out(
            network,
            self.starts(model, picture_BCYX, noises, conditions, fps, chance),
            hear(conditions, network.chunk * model.codec.stride_t / fps),
            network.init_cache(picture_BCYX, conditions, fps),
            model.prediction,
            self.steps,
            chance.noise,
            learn_from=chunks - judged,
        )
        path = torch.cat([picture_BCYX[:, None], *take(made, chunks, self.steps, chance.noise)], dim=1)
        return self.judged.window(model, path, judged, conditions, fps)

    @torch.no_grad()
    def starts(
        self,
        model: PerformanceModel,
        picture_BCYX: Tensor,
        noises: list[Tensor],
        conditions: Conditions,
        fps: float,
        chance: Chance,
    ) -> list[Tensor]:
        """Return the backbone's chunks, noised to the level at which the refiner takes them."""
        if not self._frozen:
            raise ValueError("the backbone has not begun; call begin(model) with the starting weights first")
        (network,) = self._frozen
        rough = roll_out(
            network,
            noises,
            hear(conditions, network.chunk * model.codec.stride_t / fps),
            network.init_cache(picture_BCYX, conditions, fps),
            model.prediction,
            self.backbone_steps,
            chance.noise,
        )
        starts = (add_noise(chunk, self.steps.levels[0], chance.noise) for chunk in rough)
        return take(starts, len(noises), self.backbone_steps, chance.noise)
