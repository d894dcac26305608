import pytest
import torch

from lpm.backbone import puppet_small
from lpm.sample import guide
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


def test_conditions_of_the_caller_do_not_change(setting):
    model, noisy, t, conditions = setting
    guide(model, noisy, t, conditions, 24.0, {"text": 2.0})
    assert conditions.keep["text"].tolist() == [True, False]
    assert set(conditions.keep) == {"text"}


def test_unknown_stream_is_refused(setting):
    model, noisy, t, conditions = setting
    with pytest.raises(ValueError, match=r"unknown stream \['audio'\]; streams are text"):
        guide(model, noisy, t, conditions, 24.0, {"audio": 2.0})
