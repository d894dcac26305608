"""Direct preference optimisation of flow matching."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from lpm.objective.flow_matching import Draw, FlowMatching, motion_weight
from lpm.types import Backbone, Conditions


class Comparison(NamedTuple):
    """Errors of a clip under policy and reference, (B, T), and how far the policy strayed where the clip is still."""

    policy_BT: Tensor
    reference_BT: Tensor
    strayed: Tensor


class FlowDPO(nn.Module):
    """Raise what was preferred above what was not, measured against a frozen reference.

    With e the flow-matching error of a clip under the policy and e_ref under the reference, for winner w and loser l at
    the same noise and noise level::

        loss = -log sigmoid(-beta / 2 ((e_w - e_w_ref) - (e_l - e_l_ref))) + weight e_w + hold max(0, e_w - e_w_ref)
               + still (s_w + s_l)

    The first term alone is content when both errors grow, the loser's faster, and pictures get blurred. The second,
    plain flow matching of the winner, pulls towards what was performed, with all that it lacks; the third only forbids
    to become worse at it. Preferences are about what moves, but backgrounds shift with them: in the fourth, s is the
    mean square of policy less reference in their clean data, over the places that stand still (``stillness``). Sources:
    Wallace et al. 2023, "Diffusion Model Alignment Using Direct Preference Optimization", eq. 14; for flows Liu et al.
    2025, "Improving Video Generation with Human Feedback"; the third term after Pal et al. 2024, "Smaug: Fixing Failure
    Modes of Preference Optimisation with DPO-Positive", eq. 3, where it stands inside the sigmoid and ends with a pair
    that is told apart; the fourth is ours.

    Args:
        matching: the error: noise path, weights and history as in the training of the reference.
        beta: how far the policy may go for the preferences; errors are means over a clip's numbers, so hundreds or
            thousands.
        weight: of the winner's flow-matching loss; the first term multiplies an error's gradient by beta / 4 at the
            start, so a weight of a few tenths of that is felt; 0 leaves it out.
        hold: weight of what the winner's error is above the reference's; beta / 2 is the most that the first term
            multiplies an error's gradient by; 0 leaves it out.
        still: weight of what the policy strays from the reference where a clip stands still, mean squares of about
            .001 in the recipe, so hundreds or thousands; 0 leaves it out.
    """

    def __init__(
        self,
        matching: FlowMatching,
        beta: float = 500.0,
        weight: float = 0.0,
        hold: float = 250.0,
        still: float = 0.0,
    ) -> None:
        super().__init__()
        if not beta > 0 or not min(weight, hold, still) >= 0:
            raise ValueError(
                f"beta of {beta} must be above 0, weight {weight}, hold {hold} and still {still} 0 or more; "
                "try 500, 0, 250 and 0"
            )
        self.matching, self.beta, self.weight, self.hold, self.still = matching, beta, weight, hold, still

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

        - ``preference_loss``, ``matching_loss``, ``excess_loss``, ``still_loss``: the terms, without their weights;
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
        winner, loser = (
            self.compare(policy, reference, latents_BTCYX, conditions, reference_conditions, fps, draw)
            for latents_BTCYX in (winner_BTCYX, loser_BTCYX)
        )
        winner_B, loser_B = (_of_clip(clip.policy_BT - clip.reference_BT, draw) for clip in (winner, loser))
        logit_B = -self.beta / 2 * (winner_B - loser_B)
        preference, matching = softplus(-logit_B).mean(), winner.policy_BT[draw.made_BT].mean()
        excess, strayed = winner_B.clamp(min=0).mean(), winner.strayed + loser.strayed
        parts = {
            "preference_loss": preference,
            "matching_loss": matching,
            "excess_loss": excess,
            "still_loss": strayed,
            "accuracy": (logit_B.sign() + 1).mean() / 2,
            "margin": logit_B.mean(),
            "winner_change": winner_B.mean(),
            "loser_change": loser_B.mean(),
        }
        loss = preference + self.weight * matching + self.hold * excess + self.still * strayed
        return loss, {name: part.detach() for name, part in parts.items()}

    def compare(
        self,
        policy: Backbone,
        reference: Backbone,
        latents_BTCYX: Tensor,
        conditions: Conditions,
        reference_conditions: Conditions,
        fps: float,
        draw: Draw,
    ) -> Comparison:
        """Return how the policy does on a clip, against the reference."""
        guess = self.matching.guess(policy, latents_BTCYX, conditions, fps, draw)
        with torch.no_grad():
            was = self.matching.guess(reference, latents_BTCYX, reference_conditions, fps, draw)
        strayed_BT = ((guess - was).square() * stillness(latents_BTCYX)).mean(dim=(2, 3, 4))
        return Comparison(
            self.matching.weigh(guess, latents_BTCYX, draw),
            self.matching.weigh(was, latents_BTCYX, draw),
            strayed_BT[draw.made_BT].mean(),
        )


def stillness(latents_BTCYX: Tensor) -> Tensor:
    """Return how still each place is, (B, 1, 1, Y, X): 1 where nothing moves, 0 where as much does as on average.

    A clip without any motion tells no place from another: 0 everywhere.
    """
    return 1 - motion_weight(latents_BTCYX, low=0.0, high=1.0)


def _of_clip(error_BT: Tensor, draw: Draw) -> Tensor:
    """Return the mean over the frames that are made, (B,)."""
    return (error_BT * draw.made_BT).sum(dim=1) / draw.made_BT.sum(dim=1)
