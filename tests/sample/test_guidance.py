from dataclasses import replace

import pytest
import torch

from lpm.backbone import puppet_small
from lpm.flow import Absolute, PredictClean
from lpm.sample import ClipSampler, guide
from lpm.types import AudioFeatures, Conditions, References, TextFeatures


@pytest.fixture
def setting():
    torch.manual_seed(0)
    model = puppet_small(channels=4).double()
    for parameter in model.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)

    def normal(*shape):
        return torch.randn(*shape, dtype=torch.float64)

    conditions = Conditions(
        speak=AudioFeatures(normal(2, 60, 32), 50.0, -0.5),
        listen=AudioFeatures(normal(2, 40, 32), 12.5, -2.5),
        text=TextFeatures(normal(2, 3, 32), torch.ones(2, 3, dtype=torch.bool)),
        references=References(
            torch.zeros(2, 1).long(), torch.zeros(2, 1).long(), torch.ones(2, 1).bool(), None, normal(2, 1, 4, 4, 4)
        ),
        keep={"text": torch.tensor([True, False])},
    )
    return model, normal(2, 3, 4, 4, 4), torch.rand(2, 3, dtype=torch.float64), conditions


def test_scale_one_is_the_conditional_prediction(setting):
    model, noisy, t, conditions = setting
    expected = model(noisy, t, conditions, 24.0)
    assert torch.equal(guide(model, noisy, t, conditions, 24.0, {}), expected)
    assert torch.equal(guide(model, noisy, t, conditions, 24.0, {"speak": 1.0}), expected)


def test_streams_add_up_as_if_guided_one_by_one(setting):
    model, noisy, t, conditions = setting
    full = model(noisy, t, conditions, 24.0)
    expected = full
    scales = {"speak": 3.0, "listen": 0.0, "text": 2.0, "references": 1.5}
    for stream, scale in scales.items():
        parts = {name: getattr(conditions, name) for name in scales} | {stream: None}
        keep = {} if stream == "text" else conditions.keep
        expected = expected + (scale - 1) * (full - model(noisy, t, Conditions(**parts, keep=keep), 24.0))
    torch.testing.assert_close(guide(model, noisy, t, conditions, 24.0, scales), expected)


class Counter:
    """The model, with the rows of every call."""

    def __init__(self, model):
        self.model, self.rows = model, []

    def forward(self, noisy, t, conditions, fps):
        self.rows.append(len(noisy))
        return self.model(noisy, t, conditions, fps)


@pytest.mark.parametrize("prompt", [1, 5])
def test_negative_prompt_equals_two_forwards(setting, prompt):
    """Shorter and longer than the prompt; row 1 hides its prompt, yet leads away from the negative one."""
    model, noisy, t, conditions = setting
    mask = torch.ones(2, prompt, dtype=torch.bool)
    negative = TextFeatures(torch.randn(2, prompt, 32, dtype=torch.float64), mask)
    full = model(noisy, t, conditions, 24.0)
    against = model(noisy, t, replace(conditions, text=negative, keep={}), 24.0)
    silent = model(noisy, t, replace(conditions, speak=None), 24.0)
    counter = Counter(model)
    scales = {"text": 3.0, "speak": 2.0}
    guided = guide(counter, noisy, t, replace(conditions, negative=negative), 24.0, scales)
    torch.testing.assert_close(guided, full + 2 * (full - against) + (full - silent))
    assert counter.rows == [6]


def test_negative_prompt_without_a_prompt(setting):
    model, noisy, t, conditions = setting
    negative, bare = conditions.text, replace(conditions, text=None, keep={})
    full, against = model(noisy, t, bare, 24.0), model(noisy, t, replace(conditions, keep={}), 24.0)
    guided = guide(model, noisy, t, replace(bare, negative=negative), 24.0, {"text": 2.0})
    torch.testing.assert_close(guided, full + (full - against))


def test_without_guidance_there_is_one_forward_of_the_batch_and_no_negative(setting):
    model, noisy, t, conditions = setting
    counter = Counter(model)
    given = replace(conditions, negative=conditions.text)
    assert torch.equal(guide(counter, noisy, t, given, 24.0, {"text": 1.0}), model(noisy, t, conditions, 24.0))
    assert counter.rows == [2]


def test_scale_zero_hides_a_stream_for_nothing(setting):
    model, noisy, t, conditions = setting
    counter = Counter(model)
    hidden = model(noisy, t, replace(conditions, references=None), 24.0)
    torch.testing.assert_close(guide(counter, noisy, t, conditions, 24.0, {"references": 0.0}), hidden)
    assert counter.rows == [2]


def test_a_negative_prompt_that_would_do_nothing_is_refused(setting):
    model, noisy, _, conditions = setting
    sampler = ClipSampler(PredictClean(), Absolute(), scales={"speak": 2.0})
    with pytest.raises(ValueError, match="without guidance of text; give text a scale"):
        sampler.sample(model, noisy[:, :1], 3, replace(conditions, negative=conditions.text), 24.0)


def test_conditions_of_the_caller_do_not_change(setting):
    model, noisy, t, conditions = setting
    guide(model, noisy, t, conditions, 24.0, {"text": 2.0})
    assert conditions.keep["text"].tolist() == [True, False]
    assert set(conditions.keep) == {"text"}


def test_unknown_stream_is_refused(setting):
    model, noisy, t, conditions = setting
    with pytest.raises(ValueError, match=r"unknown stream \['audio'\]; streams are text"):
        guide(model, noisy, t, conditions, 24.0, {"audio": 2.0})
