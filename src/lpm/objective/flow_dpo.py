"""Direct preference optimisation of flow matching."""

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from lpm.objective.flow_matching import Draw, FlowMatching
from lpm.types import Backbone, Conditions


class FlowDPO(nn.Module):
    """Raise what was preferred above what was not, measured against a frozen reference.

    With e the flow-matching error of a clip under the policy and e_ref under the reference, for winner w and loser l at
    the same noise and noise level::

        loss = -log sigmoid(-beta / 2 ((e_w - e_w_ref) - (e_l - e_l_ref))) + weight e_w + hold max(0, e_w - e_w_ref)

    The first term alone is content when both errors grow, the loser's faster, and pictures get blurred. The second,
    plain flow matching of the winner, pulls towards what was performed, with all that it lacks; the third only forbids
    to become worse at it. Sources: Wallace et al. 2023, "Diffusion Model Alignment Using Direct Preference
    Optimization", eq. 14; for flows Liu et al. 2025, "Improving Video Generation with Human Feedback"; the third term
    after Pal et al. 2024, "Smaug: Fixing Failure Modes of Preference Optimisation with DPO-Positive", eq. 3, where it
    stands inside the sigmoid and ends with a pair that is told apart.

    Args:
        matching: the error: noise path, weights and history as in the training of the reference.
        beta: how far the policy may go for the preferences; errors are means over a clip's numbers, so hundreds or
            thousands.
        weight: of the winner's flow-matching loss; the first term multiplies an error's gradient by beta / 4 at the
            start, so a weight of a few tenths of that is felt; 0 leaves it out.
        hold: weight of what the winner's error is above the reference's; beta / 2 is the most that the first term
            multiplies an error's gradient by; 0 leaves it out.
    """

    def __init__(self, matching: FlowMatching, beta: float = 500.0, weight: float = 0.0, hold: float = 250.0) -> None:
        super().__init__()
        if not beta > 0 or not weight >= 0 or not hold >= 0:
            raise ValueError(
                f"beta of {beta} must be above 0, weight {weight} and hold {hold} 0 or more; try 500, 0 and 250"
            )
        self.matching, self.beta, self.weight, self.hold = matching, beta, weight, hold

    def forward(
        self,
        policy: Backbone,
        reference: Backbone,
        winner_BTCYX: Tensor,
        loser_BTCYX: Tensor,
        conditions: Conditions,
        reference_conditions: Conditions,
        fps: float,
        history: int | Tensor = 1,
        generator: torch.Generator | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss and its parts; nothing is learnt by ``reference``.

        Both clips follow the same conditions, which each network's own encoders have read. ``history`` is as in
        ``FlowMatching``: each clip is given its own first frames. The parts are

        - ``preference_loss``, ``matching_loss``, ``excess_loss``: the terms, without their weights;
        - ``accuracy``: share of pairs whose winner has gained more on the reference than the loser, a half for ties;
        - ``margin``: mean of the logit, beta / 2 times the gain of the winner over that of the loser;
        - ``winner_change``, ``loser_change``: mean of e - e_ref.

        Raises:
            ValueError: winner and loser differ in shape.
        """
        if winner_BTCYX.shape != loser_BTCYX.shape:
            raise ValueError(
                f"winner {tuple(winner_BTCYX.shape)} and loser {tuple(loser_BTCYX.shape)} differ; cut both alike"
            )
        draw = self.matching.draw(winner_BTCYX, history, generator)
        winner_BT, winner_ref_BT = self.errors(
            policy, reference, winner_BTCYX, conditions, reference_conditions, fps, draw
        )
        loser_BT, loser_ref_BT = self.errors(
            policy, reference, loser_BTCYX, conditions, reference_conditions, fps, draw
        )
        winner_B, loser_B = _of_clip(winner_BT - winner_ref_BT, draw), _of_clip(loser_BT - loser_ref_BT, draw)
        logit_B = -self.beta / 2 * (winner_B - loser_B)
        preference, matching = softplus(-logit_B).mean(), winner_BT[draw.made_BT].mean()
        excess = winner_B.clamp(min=0).mean()
        parts = {
            "preference_loss": preference,
            "matching_loss": matching,
            "excess_loss": excess,
            "accuracy": (logit_B.sign() + 1).mean() / 2,
            "margin": logit_B.mean(),
            "winner_change": winner_B.mean(),
            "loser_change": loser_B.mean(),
        }
        loss = preference + self.weight * matching + self.hold * excess
        return loss, {name: part.detach() for name, part in parts.items()}

    def errors(
        self,
        policy: Backbone,
        reference: Backbone,
        latents_BTCYX: Tensor,
        conditions: Conditions,
        reference_conditions: Conditions,
        fps: float,
        draw: Draw,
    ) -> tuple[Tensor, Tensor]:
        """Return the errors (B, T) of the policy and of the reference on a clip."""
        error_BT = self.matching.errors(policy, latents_BTCYX, conditions, fps, draw)
        with torch.no_grad():
            return error_BT, self.matching.errors(reference, latents_BTCYX, reference_conditions, fps, draw)


def _of_clip(error_BT: Tensor, draw: Draw) -> Tensor:
    """Return the mean over the frames that are made, (B,)."""
    return (error_BT * draw.made_BT).sum(dim=1) / draw.made_BT.sum(dim=1)
