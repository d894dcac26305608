import pytest
import torch
from torch import nn

from lpm.distill import DMD, dmd_gradient, loss_of_gradient
from lpm.flow import Absolute, PredictClean, PredictVelocity, Residual, clean_from_velocity, interpolate
from lpm.objective import FlowMatching
from lpm.types import Conditions


class Normal(nn.Module):
    """The exact denoiser of independent normal data."""

    def __init__(self, mean, spread):
        super().__init__()
        self.mean = nn.Parameter(torch.tensor(mean)[:, None, None])
        self.log_spread = nn.Parameter(torch.full_like(self.mean, spread).log())

    def forward(self, noisy, t_BT, conditions, fps):
        t, variance = t_BT[:, :, None, None, None], (2 * self.log_spread).exp()
        gain = (1 - t) * variance / ((1 - t) ** 2 * variance + t**2)
        return self.mean + gain * (noisy - (1 - t) * self.mean)

    def sample(self, rows, generator):
        """Clips of a zero picture and one frame."""
        noise = torch.randn(rows, 1, *self.mean.shape, generator=generator)
        made = self.mean + self.log_spread.exp() * noise
        return torch.cat([torch.zeros_like(made), made], dim=1)


class Random(nn.Module):
    """A network without meaning, which hears one number."""

    def __init__(self, seed):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, 3, generator=torch.Generator().manual_seed(seed)).double())

    def forward(self, noisy, t_BT, conditions, fps):
        keep_B = conditions.keep.get("speak", torch.ones(len(noisy), dtype=torch.bool))
        mixed = torch.einsum("btcyx,cd->btdyx", noisy, self.weight)
        return torch.tanh(mixed + t_BT[:, :, None, None, None]) * (1 + keep_B[:, None, None, None, None])


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_gradient_equals_the_formula_number_by_number():
    clean, teacher, fake = (normal(3, 4, 2, 2, 2, seed=seed) for seed in range(3))
    made = torch.tensor([[0, 1, 1, 1], [0, 0, 1, 1], [0, 0, 0, 1]]).bool()
    found = dmd_gradient(clean, teacher, fake, made)
    for row in range(3):
        distances = [
            abs(a.item() - b.item())
            for frame in range(4)
            if made[row, frame]
            for a, b in zip(clean[row, frame].flatten(), teacher[row, frame].flatten())
        ]
        unit = sum(distances) / len(distances)
        for frame in range(4):
            for index, (f, r) in enumerate(zip(fake[row, frame].flatten(), teacher[row, frame].flatten())):
                wanted = (f.item() - r.item()) / unit if made[row, frame] else 0.0
                assert found[row, frame].flatten()[index].item() == pytest.approx(wanted)


def test_the_loss_hands_the_gradient_on():
    clean, gradient = normal(2, 3, 2, 2, 2).requires_grad_(), normal(2, 3, 2, 2, 2, seed=1)
    made = torch.tensor([[False, True, True], [False, False, True]])
    loss_of_gradient(clean, gradient, made).backward()
    torch.testing.assert_close(clean.grad, gradient * made[:, :, None, None, None] / (3 * 8))


@pytest.mark.parametrize("scales", [{}, {"speak": 2.0}])
@pytest.mark.parametrize("given", [1, 2])
def test_gradient_on_codec_latents_equals_the_method_by_hand(scales, given):
    teacher, fake, conditions = Random(1), Random(2), Conditions()
    matching = FlowMatching(PredictVelocity(), Residual(0.5), time_mean=0.3)
    clip = normal(2, 4, 3, 2, 2, seed=3).requires_grad_()
    loss, parts = DMD(matching, scales)(teacher, fake, clip, conditions, 24.0, given, torch.Generator().manual_seed(7))
    (found,) = torch.autograd.grad(loss, clip)

    draw = matching.draw(clip, given, torch.Generator().manual_seed(7))
    t_BT = draw.t_B[:, None] * torch.tensor([[0.0] * given + [1.0] * (4 - given)]).double()
    latents = clip.detach()
    path = torch.cat([latents[:, :1], (latents[:, 1:] - latents[:, :1]) / 0.5], dim=1)
    noisy = interpolate(path, draw.noise_BTCYX, t_BT)
    heard = teacher(noisy, t_BT, conditions, 24.0)
    if scales:
        deaf = teacher(noisy, t_BT, Conditions(keep={"speak": torch.zeros(2).bool()}), 24.0)
        heard = heard + (2.0 - 1) * (heard - deaf)
    real = clean_from_velocity(heard, noisy, t_BT)
    made_up = clean_from_velocity(fake(noisy, t_BT, conditions, 24.0), noisy, t_BT)
    gradient = dmd_gradient(path, real, made_up, draw.made_BT)
    wanted = gradient / draw.made_BT.sum() / 12 / 0.5  # the chain rule through the coordinates
    torch.testing.assert_close(found[:, given:], wanted[:, given:].detach())
    assert parts["gradient"].item() == pytest.approx(gradient[:, given:].abs().mean().item())


def test_student_and_fake_network_learn_apart():
    teacher, fake, dmd = Random(1), Random(2), DMD(FlowMatching(PredictClean(), Absolute()))
    weight = torch.ones((), dtype=torch.float64, requires_grad=True)
    clip = weight * normal(2, 3, 3, 2, 2)
    dmd(teacher, fake, clip, Conditions(), 24.0)[0].backward()
    assert weight.grad.abs() > 0 and teacher.weight.grad is None and fake.weight.grad is None
    weight.grad = None
    dmd.fake_loss(fake, clip, Conditions(), 24.0).backward()
    assert weight.grad is None and teacher.weight.grad is None and fake.weight.grad.abs().sum() > 0


def test_a_student_like_its_teacher_stays():
    teacher = Random(1)
    clip = normal(2, 3, 3, 2, 2).requires_grad_()
    loss, _ = DMD(FlowMatching(PredictClean(), Absolute()))(teacher, teacher, clip, Conditions(), 24.0)
    assert torch.autograd.grad(loss, clip)[0].abs().max() == 0


def test_the_students_distribution_moves_to_the_teachers():
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    teacher, student = Normal([2.0, -1.0], 0.5), Normal([0.0, 0.0], 1.5)
    fake = Normal([0.0, 0.0], 1.5)
    dmd = DMD(FlowMatching(PredictClean(), Absolute(), floor=0.2, motion=False, time_mean=0.0))
    learn = torch.optim.Adam(student.parameters(), 0.02, betas=(0.0, 0.99))
    follow = torch.optim.Adam(fake.parameters(), 0.05, betas=(0.0, 0.99))
    before = (student.mean - teacher.mean).abs().max().item()
    for _ in range(250):
        clip = student.sample(128, generator)
        learn.zero_grad()
        dmd(teacher, fake, clip, Conditions(), 24.0, generator=generator)[0].backward()
        learn.step()
        for _ in range(3):
            follow.zero_grad()
            dmd.fake_loss(fake, student.sample(128, generator), Conditions(), 24.0, generator=generator).backward()
            follow.step()
    assert (student.mean - teacher.mean).abs().max() < 0.1 * before
    assert (student.log_spread - teacher.log_spread).abs().max() < 0.2
