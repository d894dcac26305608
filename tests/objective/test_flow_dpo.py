import math

import pytest
import torch
from torch import nn

from lpm.backbone import puppet_small
from lpm.flow import Absolute, PredictClean, Residual
from lpm.objective import FlowDPO, FlowMatching
from lpm.objective.flow_dpo import stillness
from lpm.types import Conditions

FPS = 24.0


def latents(seed, batch=3, frames=5):
    return torch.randn(batch, frames, 4, 4, 4, generator=torch.Generator().manual_seed(seed))


def pair():
    winner, loser = latents(0), latents(1)
    loser[:, 0] = winner[:, 0]
    return winner, loser


class Constant(nn.Module):
    """A denoiser that answers with one number everywhere, and remembers its inputs."""

    def __init__(self, value):
        super().__init__()
        self.value = nn.Parameter(torch.tensor(value))
        self.seen = []

    def forward(self, noisy, t, conditions, fps):
        self.seen.append((noisy.detach().clone(), t.clone()))
        return self.value.expand_as(noisy)


def dpo(beta=2.0, weight=1.0, hold=0.0, still=0.0, **matching):
    matching = FlowMatching(PredictClean(), Absolute(), **{"motion": False, "floor": 1.0, **matching})
    return FlowDPO(matching, beta, weight, hold, still)


def run(objective, policy, reference, winner, loser, **settings):
    return objective(policy, reference, winner, loser, Conditions(), Conditions(), FPS, **settings)


def test_the_start_is_log_2_plus_flow_matching():
    model = puppet_small(channels=4)
    nn.init.normal_(model.time_modulation.weight, std=0.1)
    winner, loser = pair()
    objective = FlowDPO(FlowMatching(PredictClean(), Residual(0.5), history_noise=0.2), weight=0.5)
    loss, parts = run(objective, model, model, winner, loser, history=2, generator=torch.Generator().manual_seed(3))
    matching, _ = objective.matching(
        model, winner, Conditions(), FPS, history=2, generator=torch.Generator().manual_seed(3)
    )
    assert parts["preference_loss"].item() == pytest.approx(math.log(2), abs=1e-6)
    assert (parts["accuracy"].item(), parts["margin"].item()) == (0.5, 0.0)
    torch.testing.assert_close(loss, parts["preference_loss"] + 0.5 * matching)


def test_value_by_hand():
    winner, loser = torch.zeros(1, 3, 1, 1, 1), torch.ones(1, 3, 1, 1, 1)
    loss, parts = run(dpo(beta=4.0, weight=0.1), Constant(0.25), Constant(0.5), winner, loser)
    # errors: winner .0625 (reference .25), loser .5625 (reference .25); logit = -2 ((-.1875) - .3125) = 1
    expected = -math.log(1 / (1 + math.exp(-1.0))) + 0.1 * 0.0625
    assert loss.item() == pytest.approx(expected, abs=1e-6)
    assert parts["margin"].item() == pytest.approx(1.0)
    assert parts["accuracy"].item() == 1.0
    assert parts["winner_change"].item() == pytest.approx(-0.1875)
    assert parts["loser_change"].item() == pytest.approx(0.3125)


def test_holding_costs_what_the_winners_error_grew_and_nothing_where_it_fell():
    winner, loser = torch.zeros(2, 3, 1, 1, 1), torch.ones(2, 3, 1, 1, 1)
    winner[1] = 1.0  # errors against the policy .75 ** 2, against the reference .5 ** 2; of the first row .0625 and .25
    policy = Constant(0.25)
    free, _ = run(dpo(weight=0.0), policy, Constant(0.5), winner, loser)
    loss, parts = run(dpo(weight=0.0, hold=3.0), policy, Constant(0.5), winner, loser)
    assert parts["excess_loss"].item() == pytest.approx((0.5625 - 0.25) / 2)
    assert (loss - free).item() == pytest.approx(3 * (0.5625 - 0.25) / 2, abs=1e-6)
    assert run(dpo(hold=3.0), policy, Constant(0.5), winner[:1], loser[:1])[1]["excess_loss"].item() == 0
    with pytest.raises(ValueError, match=r"hold -1\.0 and still 0\.0 0 or more"):
        dpo(hold=-1.0)


class Corner(Constant):
    """Answers with its number in one place, with nothing in all others."""

    def __init__(self, value, column):
        super().__init__(value)
        self.column = column

    def forward(self, noisy, t, conditions, fps):
        answer = torch.zeros_like(noisy)
        answer[..., self.column] = self.value
        return answer


def test_straying_costs_where_the_clip_stands_still_and_nothing_where_it_moves():
    winner = torch.zeros(2, 9, 1, 1, 4)
    winner[..., 3] = torch.randn(2, 9, 1, 1, generator=torch.Generator().manual_seed(0))
    still, moving, reference = Corner(0.5, column=0), Corner(0.5, column=3), Constant(0.0)
    torch.testing.assert_close(stillness(winner).flatten(), torch.tensor([1.0, 1, 1, 0] * 2), atol=1e-2, rtol=0)
    free, _ = run(dpo(), still, reference, winner, winner)
    loss, parts = run(dpo(still=3.0), still, reference, winner, winner)
    # winner and loser: .5 ** 2 in one of four places each
    assert parts["still_loss"].item() == pytest.approx(2 * 0.25 / 4, rel=1e-2)
    assert (loss - free).item() == pytest.approx(3 * parts["still_loss"].item(), rel=1e-5)
    assert run(dpo(still=3.0), moving, reference, winner, winner)[1]["still_loss"].item() == 0
    assert stillness(torch.ones(2, 9, 1, 1, 4)).abs().max() < 1e-6
    with pytest.raises(ValueError, match=r"still -1\.0 0 or more"):
        dpo(still=-1.0)


def test_history_does_not_count():
    winner, loser = torch.zeros(1, 3, 1, 1, 1), torch.ones(1, 3, 1, 1, 1)
    winner[:, 1], loser[:, 1] = 50, -70
    _, parts = run(dpo(beta=4.0), Constant(0.25), Constant(0.5), winner, loser, history=2)
    assert parts["margin"].item() == pytest.approx(1.0)


def test_rows_may_have_histories_of_their_own():
    winner, loser = pair()
    policy, reference = Constant(0.1), Constant(0.3)
    _, parts = run(dpo(), policy, reference, winner, loser, history=torch.tensor([1, 3, 4]))
    change = []
    for clip in (winner, loser):
        errors = [((v - clip[row, first:]) ** 2).mean() for row, first in enumerate((1, 3, 4)) for v in (0.1, 0.3)]
        change.append(torch.stack(errors[::2]) - torch.stack(errors[1::2]))
    assert parts["winner_change"].item() == pytest.approx(change[0].mean().item(), abs=1e-6)
    assert parts["margin"].item() == pytest.approx(-(change[0] - change[1]).mean().item(), abs=1e-6)


def test_all_four_see_the_same_noise_and_noise_level():
    winner, loser = pair()
    policy, reference = Constant(0.0), Constant(0.0)
    run(dpo(history_noise=0.5), policy, reference, winner, loser, history=2)
    (won, t), (lost, t_lost) = policy.seen
    assert torch.equal(t, t_lost) and (t[:, 2:] > 0).all()
    scale = t[:, :, None, None, None]
    torch.testing.assert_close(won - (1 - scale) * winner, lost - (1 - scale) * loser)
    for seen, again in zip(policy.seen, reference.seen):
        assert torch.equal(seen[0], again[0]) and torch.equal(seen[1], again[1])


def test_equal_clips_say_nothing_and_only_match_the_flow():
    winner = latents(0)
    policy, reference = Constant(0.2), Constant(0.7)
    loss, parts = run(dpo(weight=0.0), policy, reference, winner, winner.clone())
    assert parts["preference_loss"].item() == pytest.approx(math.log(2), abs=1e-6)
    loss.backward()
    assert policy.value.grad.item() == pytest.approx(0.0, abs=1e-7)


def test_the_reference_gets_no_gradient():
    policy, reference = Constant(0.2), Constant(0.7)
    loss, _ = run(dpo(), policy, reference, *pair())
    loss.backward()
    assert reference.value.grad is None and policy.value.grad.abs() > 0


def test_steps_lower_the_winners_error_and_raise_the_losers():
    torch.manual_seed(0)
    policy = puppet_small(channels=4)
    reference = puppet_small(channels=4)
    reference.load_state_dict(policy.state_dict())
    winner, loser = pair()
    objective = FlowDPO(FlowMatching(PredictClean(), Absolute()), beta=10.0, hold=0.0)
    optimizer = torch.optim.SGD(policy.parameters(), 2e-3)
    for _ in range(10):
        generator = torch.Generator().manual_seed(0)
        loss, parts = run(objective, policy, reference, winner, loser, generator=generator)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert parts["winner_change"] < 0 < parts["loser_change"]
    assert parts["accuracy"] == 1 and parts["preference_loss"] < math.log(2)


def test_bad_numbers_are_refused():
    with pytest.raises(ValueError, match="beta of 0"):
        dpo(beta=0.0)
    with pytest.raises(ValueError, match="cut both alike"):
        run(dpo(), Constant(0.0), Constant(0.0), latents(0), latents(1, frames=4))
