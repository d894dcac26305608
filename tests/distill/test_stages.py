from collections import Counter

import pytest
import torch

from lpm.backbone import CausalDiT
from lpm.distill import Chance, CodecDistance, Judged, OffPolicy, OnPolicy, Refine, last_window, on_policy
from lpm.sample import FewSteps, backbone_steps, online_levels, refiner_steps, roll_out
from lpm.types import AudioFeatures, Conditions
from tiny_streams import FPS, STRIDE, at
from tiny_students import hidden_somewhere, tiny_student, without_gradient

STEPS = FewSteps((1.0, 0.7), history=0.2)
ALL = [
    OffPolicy(STEPS),
    OnPolicy(STEPS),
    OnPolicy(STEPS, Judged(None), through_history=True),
    Refine(FewSteps((0.5,), 0.0), STEPS),
]


def test_what_a_teacher_judges_is_the_end_after_the_picture_and_a_little_past():
    clip = torch.arange(13.0)[None, :, None, None, None]
    conditions = Conditions(speak=AudioFeatures(torch.zeros(1, 4, 2), 50.0, -0.5))
    made = last_window(clip, conditions, judged=6, given=2, span=1 / 6)
    assert made.clip_BTCYX.flatten().tolist() == [0, *range(5, 13)] and made.given == 3
    assert made.conditions.speak.start == pytest.approx(-0.5 - 4 / 6)  # frame 5 begins after 4 latent frames
    first = last_window(clip[:, :7], conditions, judged=6, given=2, span=1 / 6)
    assert first.clip_BTCYX.flatten().tolist() == list(range(7)) and first.given == 1
    assert first.conditions.speak.start == -0.5
    assert last_window(clip[:, :8], conditions, 6, 2, 1 / 6).given == 2


def test_lengths_and_exits_are_even_and_equal_on_all_ranks(monkeypatch):
    calls = []

    def told(network, starts, heard, cache, prediction, steps, noise, last, learn_from, through_history):
        calls.append((len(starts), last, learn_from))
        return starts

    monkeypatch.setattr(on_policy, "roll_out", told)
    student, stage = tiny_student(depth=1), OnPolicy(FewSteps((1.0, 0.8, 0.6), 0.0), Judged(2, given=1))
    latents, conditions = hidden_somewhere(9)
    for step in range(600):
        with torch.no_grad():
            stage.forward(student, latents, conditions, FPS, Chance(0, step, rank=step % 2))
    for number, values in ((4, [length for length, _, _ in calls]), (3, [last for _, last, _ in calls])):
        counts = Counter(values)
        assert len(counts) == number and max(abs(n - 600 / number) for n in counts.values()) < 60
    assert all(learn_from == max(0, length - 2) for length, _, learn_from in calls)
    both = [(Chance(0, step, 1).number(0, 9), Chance(0, step, 2).number(0, 9)) for step in range(20)]
    assert all(a == b for a, b in both) and len(set(both)) > 3
    assert not torch.equal(Chance(0, 0, 1).noise(latents), Chance(0, 0, 2).noise(latents))


@pytest.mark.parametrize("stage", ALL)
def test_gradient_reaches_every_parameter_and_nothing_else(stage):
    student = tiny_student(sink=1, window=1)
    latents, conditions = hidden_somewhere(9)
    stage.begin(student)
    made = stage.forward(student, latents.requires_grad_(), conditions, FPS, Chance(0, 3))
    judged = made.clip_BTCYX[:, made.given :]
    (judged * torch.randn_like(judged)).sum().backward()
    assert without_gradient(student.backbone) == []
    assert not any(x.grad is not None for x in student.codec.parameters())


@pytest.mark.parametrize(("stage", "networks"), [(OnPolicy(STEPS, Judged(shortest=4)), 1), (ALL[3], 2)])
def test_the_last_chunk_is_not_remembered_but_its_noise_is_drawn(stage, networks, monkeypatch):
    student = tiny_student(sink=1, window=1)
    latents, conditions = hidden_somewhere(9)
    stage.begin(student)
    own, calls, noises = CausalDiT.extend, [], []
    monkeypatch.setattr(CausalDiT, "extend", lambda *args: (calls.append(args), own(*args)))
    monkeypatch.setattr(Judged, "draw", lambda *_: (4, 1))
    monkeypatch.setattr(Chance, "number", lambda self, low, high: high - 1)

    def noise(self, like):
        noises.append(like)
        return torch.zeros_like(like)

    monkeypatch.setattr(Chance, "noise", noise)
    stage.forward(student, latents, conditions, FPS, Chance(0, 0))
    assert len(calls) == 3 * networks
    each = 3 if networks == 1 else 4  # at the start, at T1, in the history; a refiner's start
    assert len(noises) == 4 * each


@pytest.mark.parametrize("stage", ALL)
def test_without_gradients_the_same_clip_is_made(stage):
    student = tiny_student(sink=1, window=1)
    latents, conditions = hidden_somewhere(9)
    stage.begin(student)
    with_gradient = stage.forward(student, latents, conditions, FPS, Chance(0, 1))
    with torch.no_grad():
        without = stage.forward(student, latents, conditions, FPS, Chance(0, 1))
    torch.testing.assert_close(with_gradient.clip_BTCYX, without.clip_BTCYX, rtol=0, atol=1e-12)
    assert with_gradient.given == without.given and not without.clip_BTCYX.requires_grad


def test_off_policy_starts_from_the_teachers_clip_with_noise_and_leaves_other_chunks_alone():
    student, stage = tiny_student(), OffPolicy(STEPS, Judged(1, given=1, shortest=4))
    latents, conditions = hidden_somewhere(9)
    calls, own = [], student.backbone.forward_clip

    def spy(*args):
        calls.append(args)
        return own(*args)

    student.backbone.forward_clip = spy
    made = stage.forward(student, latents, conditions, FPS, Chance(0, 0))
    torch.testing.assert_close(made.clip_BTCYX[:, :2], latents[:, [0, 6]])
    assert made.given == 2 and made.clip_BTCYX.shape[1] == 4
    assert (made.clip_BTCYX[:, 2:] - latents[:, 7:]).abs().max() > 0.1
    noisy, t_BT, _, _, history, t_history_BT = calls[0]
    clean = student.coordinates.enter(latents)
    assert set(t_BT[:, 1:].flatten().tolist()) <= set(torch.tensor(STEPS.levels).double().tolist())
    rest = noisy - (1 - t_BT[:, :, None, None, None]) * clean
    torch.testing.assert_close(rest.std(dim=(2, 3, 4)), t_BT, rtol=0.3, atol=1e-9)
    rest = history - (1 - t_history_BT[:, :, None, None, None]) * clean
    assert t_history_BT[0].tolist() == pytest.approx([0] + [0.2] * 8)
    torch.testing.assert_close(rest.std(dim=(2, 3, 4)), t_history_BT, rtol=0.3, atol=1e-9)


def test_the_perceptual_term_counts_for_less_the_more_noise_there_was():
    student = tiny_student()
    latents, conditions = hidden_somewhere(3)
    terms = []
    for level in (1.0, 0.6):
        stage = OffPolicy(FewSteps((level,), 0.0), perceptual=CodecDistance(), weight=0.5)
        made = stage.forward(student, latents, conditions, FPS, Chance(0, 0))
        distance = CodecDistance().forward(student.codec, made.clip_BTCYX, latents)[:, 1:]
        assert made.terms["perceptual"].item() == pytest.approx(0.5 * (1 - level) * distance.mean().item(), rel=1e-6)
        terms.append(made.terms["perceptual"])
    assert terms[0] == 0 and terms[1] > 0
    assert torch.autograd.grad(terms[1], student.backbone.head.new.out.weight)[0].abs().max() > 0


def test_the_perceptual_term_is_left_out_where_the_student_does_not_learn():
    student, stage = tiny_student(), OffPolicy(STEPS, perceptual=CodecDistance())
    student.codec.decode = lambda _: pytest.fail("a clip is decoded")
    latents, conditions = hidden_somewhere(3)
    with torch.no_grad():
        assert stage.forward(student, latents, conditions, FPS, Chance(0, 0)).terms == {}


def test_a_refiner_starts_from_a_frozen_backbones_roll_out_with_noise():
    student, stage = tiny_student(), Refine(FewSteps((0.5,), 0.0), STEPS, judged=Judged(None, shortest=3))
    latents, conditions = hidden_somewhere(7)
    with pytest.raises(ValueError, match=r"call begin\(model\)"):
        stage.forward(student, latents, conditions, FPS, Chance(0, 0))
    stage.begin(student)
    assert not stage.state_dict()
    with torch.no_grad():
        for parameter in student.backbone.parameters():
            parameter += 0.1
    noises = [torch.randn(2, 2, 4, 4, 4, dtype=torch.float64) for _ in range(3)]
    starts = stage.starts(student, latents[:, 0], noises, conditions, FPS, Chance(0, 0))

    other, chance = tiny_student(), Chance(0, 0)  # the weights before
    cache = other.backbone.init_cache(latents[:, 0], conditions, FPS)
    heard = (at(conditions, index, 2) for index in range(3))
    rough = roll_out(other.backbone, noises, heard, cache, other.prediction, STEPS, chance.noise)
    for start, chunk in zip(starts, rough):
        assert not start.requires_grad
        torch.testing.assert_close(start, 0.5 * chunk + 0.5 * chance.noise(chunk))


def test_unusable_settings_are_named():
    for settings in ({"chunks": 0}, {"given": -1}, {"shortest": 0}):
        with pytest.raises(ValueError, match="judged chunks"):
            Judged(**settings)
    latents, conditions = hidden_somewhere(5)
    with pytest.raises(ValueError, match=r"shortest clip of 3 chunks, but the data have 2"):
        OnPolicy(STEPS, Judged(shortest=3)).forward(tiny_student(), latents, conditions, FPS, Chance(0, 0))


def test_the_papers_steps():
    backbone, refiner = backbone_steps(3.0, history=0.1), refiner_steps(3.0)
    assert len(refiner.levels) == 1
    assert (*backbone.levels, *refiner.levels) == online_levels(3.0) == pytest.approx((1.0, 6 / 7, 3 / 5))
    assert (backbone.history, refiner.history) == (0.1, 0.0)
    assert STRIDE == 4
