import pytest
import torch

from lpm.backbone import puppet_small
from lpm.flow import Absolute, PredictClean, PredictVelocity, Residual
from lpm.objective import FlowMatching, motion_weight, sample_times
from lpm.types import Conditions

FPS = 24.0


def moving_latents(batch=4, frames=5):
    generator = torch.Generator().manual_seed(0)
    still = torch.randn(batch, 1, 4, 4, 4, generator=generator)
    return still + 0.3 * torch.randn(batch, frames, 4, 4, 4, generator=generator).cumsum(1)


class Spy:
    """A denoiser that answers with a constant and remembers its input."""

    def __init__(self, answer=None):
        self.answer = answer

    def forward(self, noisy, t, conditions, fps):
        self.noisy, self.t = noisy, t
        return torch.zeros_like(noisy) if self.answer is None else self.answer


def test_history_is_given_clean_and_the_rest_noisy():
    latents, spy = moving_latents(), Spy()
    FlowMatching(PredictClean(), Absolute())(spy, latents, Conditions(), FPS, history=2)
    assert torch.equal(spy.noisy[:, :2], latents[:, :2])
    assert (spy.t[:, :2] == 0).all()
    assert (spy.t[:, 2:] > 0).all() and (spy.t[:, 2:] == spy.t[:, 2:3]).all()


def test_each_row_may_have_its_own_history():
    latents, spy = moving_latents(), Spy()
    objective, given = FlowMatching(PredictClean(), Absolute(), motion=False, floor=1.0), torch.tensor([1, 2, 4, 1])
    loss, _ = objective(spy, latents, Conditions(), FPS, history=given)
    made = torch.arange(5) >= given[:, None]
    assert torch.equal(spy.t > 0, made)
    assert torch.equal(spy.noisy[~made], latents[~made])
    torch.testing.assert_close(loss, latents[made].square().mean())


def test_rough_history_is_seen_and_not_the_target():
    latents, coordinates = moving_latents(), Residual(0.5)
    spy = Spy(coordinates.enter(latents))
    loss, _ = FlowMatching(PredictClean(), coordinates, history_noise=0.1)(spy, latents, Conditions(), FPS, history=2)
    error_B = (spy.noisy - coordinates.enter(latents))[:, 1].std(dim=(1, 2, 3))
    assert 0 < error_B.min() < error_B.max() < 0.15
    assert torch.equal(spy.noisy[:, 0], latents[:, 0])
    assert loss.item() == 0


def test_true_answer_has_no_loss():
    latents = moving_latents()
    coordinates = Residual(0.5)
    loss, _ = FlowMatching(PredictClean(), coordinates)(Spy(coordinates.enter(latents)), latents, Conditions(), FPS)
    assert loss.item() == 0


def test_tiny_floor_gives_the_plain_velocity_loss():
    latents, spy = moving_latents().double(), Spy()
    objective = FlowMatching(PredictVelocity(), Absolute(), floor=1e-9, motion=False)
    loss, _ = objective(spy, latents, Conditions(), FPS, generator=torch.Generator().manual_seed(0))
    t = spy.t[:, 1:, None, None, None]
    noise = (spy.noisy[:, 1:] - (1 - t) * latents[:, 1:]) / t
    torch.testing.assert_close(loss, (noise - latents[:, 1:]).square().mean())


def test_report_groups_by_noise_level_and_state():
    loss = torch.tensor([[1.0, 3.0], [5.0, 7.0]])
    state = torch.tensor([[0, 1], [1, -1]])
    made = torch.tensor([[True, True], [False, True]])
    report = FlowMatching.report(loss, torch.tensor([0.1, 0.9]), made, state)
    assert {name: value.item() for name, value in report.items()} == {
        "loss_t0": 2.0,
        "loss_t75": 7.0,
        "loss_speaking": 1.0,
        "loss_listening": 3.0,
    }


def test_moving_places_weigh_more():
    latents = torch.zeros(1, 3, 2, 2, 2)
    latents[:, 0] = 7  # the first picture may be far back: it does not count
    latents[:, 1, :, 0, 0] = 1
    weight = motion_weight(latents)
    assert weight[0, 0, 0].flatten().tolist() == pytest.approx([4.0, 0.6, 0.6, 0.6], abs=0.01)
    assert motion_weight(torch.ones(1, 3, 2, 2, 2)).unique().tolist() == [1.0]


def test_times_follow_the_logit_normal():
    times = sample_times(20_000, 1.0, 0.5, torch.Generator().manual_seed(0))
    logits = torch.logit(times)
    assert logits.mean().item() == pytest.approx(1.0, abs=0.02)
    assert logits.std().item() == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("history", [0, 5, torch.tensor([1, 2, 3, 5])])
def test_impossible_history_is_refused(history):
    with pytest.raises(ValueError, match=r"history of .*5.* latent frames; it must be 1 to 4"):
        FlowMatching(PredictClean(), Absolute())(Spy(), moving_latents(), Conditions(), FPS, history=history)


@pytest.mark.parametrize("prediction", [PredictClean(), PredictVelocity()])
def test_one_batch_is_learnt(prediction):
    torch.manual_seed(0)
    model, latents = puppet_small(channels=4), moving_latents()
    objective = FlowMatching(prediction, Residual(0.5), time_std=0.5)
    optimizer = torch.optim.AdamW(model.parameters(), 5e-3)
    losses = []
    for _ in range(40):
        loss, _ = objective(model, latents, Conditions(), FPS)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-10:]) / 10 < 0.6 * sum(losses[:5]) / 5
