"""Stage 3: the student learns on its own roll-outs."""

import torch
from torch import Tensor, nn

from lpm.distill.chance import Chance
from lpm.distill.clip import StudentClip, causal_backbone, count_chunks, take
from lpm.distill.stage import Judged
from lpm.sample import FewSteps, PerformanceModel, hear, roll_out
from lpm.types import Conditions


class OnPolicy(nn.Module):
    """Stage 3: the student's own roll-out through its cache, from noise; it leaves at a random step.

    That step is drawn once for all chunks, so only where it is the last one do chunks look back to what a stream would
    remember.

    Sources: LPM 1.0, Online LPM, stage 3; Self Forcing (Huang et al. 2025), for the random exit and the gradient of one
    step alone.

    Args:
        steps: as in ``OffPolicy``.
        judged: which chunks are judged, and carry gradients; ``Judged()`` if None.
        through_history: let gradients flow from chunk to chunk through the cache.
    """

    def __init__(self, steps: FewSteps, judged: Judged | None = None, through_history: bool = False) -> None:
        super().__init__()
        self.steps, self.judged, self.through_history = steps, judged or Judged(), through_history

    def begin(self, model: PerformanceModel) -> None:
        """Need nothing."""

    def forward(
        self, model: PerformanceModel, latents_BTCYX: Tensor, conditions: Conditions, fps: float, chance: Chance
    ) -> StudentClip:
        """Return a roll-out; of the teacher's clip only the picture and the length are used."""
        network = causal_backbone(model)
        chunks, judged = self.judged.draw(count_chunks(latents_BTCYX.shape[1], network.chunk), chance)
        last = chance.number(0, len(self.steps.levels))
        picture_BCYX = latents_BTCYX[:, 0]
        made = roll_out(
            network,
            [chance.noise(latents_BTCYX[:, 1 : 1 + network.chunk]) for _ in range(chunks)],
            hear(conditions, network.chunk * model.codec.stride_t / fps),
            network.init_cache(picture_BCYX, conditions, fps),
            model.prediction,
            self.steps,
            chance.noise,
            last,
            chunks - judged,
            self.through_history,
        )
        path = torch.cat([picture_BCYX[:, None], *take(made, chunks, self.steps, chance.noise)], dim=1)
        return self.judged.window(model, path, judged, conditions, fps)
