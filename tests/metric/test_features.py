import pytest
import torch

from lpm.metric import token_cosine, token_error, token_unexplained


def test_equal_features_have_no_gap():
    tokens = torch.randn(2, 5, 3)
    assert token_cosine(tokens, tokens).numpy() == pytest.approx(1)
    assert token_error(tokens, tokens).abs().max() == 0 and token_unexplained(tokens, tokens).abs().max() == 0


def test_each_token_has_its_own_score():
    truth = torch.tensor([[[3.0, 4.0], [3.0, -4.0]]])
    found = torch.tensor([[[6.0, 8.0], [3.0, 4.0]]])
    assert token_cosine(found, truth)[0].tolist() == pytest.approx([1, -7 / 25])
    assert token_error(found, truth)[0].tolist() == pytest.approx([1, 8 / 5])
    assert token_unexplained(found, truth)[0].tolist() == pytest.approx([25 / 16, 64 / 16])


def test_what_all_tokens_share_flatters_the_cosine_alone():
    truth, found = torch.randn(1, 50, 4), torch.randn(1, 50, 4)
    assert token_cosine(found + 100, truth + 100).min() > 0.99
    torch.testing.assert_close(
        token_unexplained(found + 100, truth + 100), token_unexplained(found, truth), rtol=1e-4, atol=1e-4
    )
