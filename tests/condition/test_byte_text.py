import pytest
import torch

from lpm.condition import ByteText


def test_padding_changes_nothing():
    torch.manual_seed(0)
    encoder = ByteText(8)
    alone, beside = encoder(["nods"]), encoder(["nods", "smiles and looks to the left"])
    assert beside.tokens_BLD.shape == (2, 7, 8)
    assert beside.mask_BL.sum(1).tolist() == [1, 7]
    torch.testing.assert_close(alone.tokens_BLD[0], beside.tokens_BLD[0, :1])


def test_any_language_and_the_empty_prompt():
    features = ByteText(8)(["", "微笑", "é"])
    assert features.mask_BL.sum(1).tolist() == [0, 2, 1]
    assert features.tokens_BLD.isfinite().all()


def test_long_text_names_length_limit_and_cure():
    with pytest.raises(ValueError, match="text of 10000 bytes is above the limit of 512; shorten"):
        ByteText(8)(["x" * 10_000])


def test_longest_text_fits_and_gradient_reaches_every_parameter():
    encoder = ByteText(8, limit=32)
    encoder(["a" * 32]).tokens_BLD.square().sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in encoder.parameters())
