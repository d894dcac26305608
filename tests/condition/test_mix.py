import pytest
import torch

from lpm.condition import ConditionDropout
from lpm.types import Conditions


def test_each_stream_is_hidden_at_its_own_rate():
    dropout = ConditionDropout(text=0.0, speak=0.25, listen=1.0, references=0.5)
    keep = dropout(Conditions(), 4000, torch.Generator().manual_seed(0)).keep
    shares = {stream: mask.float().mean().item() for stream, mask in keep.items()}
    assert shares == pytest.approx({"text": 1, "speak": 0.75, "listen": 0, "references": 0.5}, abs=0.03)


def test_hidden_rows_stay_hidden():
    before = Conditions(keep={"speak": torch.tensor([True, False])})
    keep = ConditionDropout(0, 0, 0, 0)(before, 2).keep
    assert keep["speak"].tolist() == [True, False]
    assert keep["text"].tolist() == [True, True]


def test_evaluation_hides_nothing():
    conditions = Conditions()
    assert ConditionDropout(1, 1, 1, 1).eval()(conditions, 2) is conditions


def test_impossible_rate_is_refused():
    with pytest.raises(ValueError, match=r"dropout of 1.5 for listen is outside \[0, 1\]"):
        ConditionDropout(listen=1.5)
