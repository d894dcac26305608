"""T5 encoders of transformers on tiny random weights in the true format."""

import pytest
import torch

from lpm.condition import PretrainedText
from tiny_weights import save_text

transformers = pytest.importorskip("transformers")


@pytest.mark.parametrize("kind", ["umt5", "t5"])
def test_tokens_equal_transformers_and_padding_is_zero(kind, tmp_path):
    model, tokenizer = save_text(kind, tmp_path)
    encoder = PretrainedText(tmp_path, length=20)
    features = encoder(["she nods", "a  smile\n", ""])
    assert features.tokens_BLD.shape == (3, 20, 24) == (3, 20, encoder.width) and features.mask_BL.all()
    for row, prompt in enumerate(["she nods", "a smile", ""]):
        ids = tokenizer(prompt, return_tensors="pt").input_ids
        with torch.no_grad():
            truth = model(ids).last_hidden_state[0]
        torch.testing.assert_close(features.tokens_BLD[row, : ids.shape[1]], truth, atol=1e-5, rtol=1e-5)
        assert (features.tokens_BLD[row, ids.shape[1] :] == 0).all()


def test_a_diffusers_folder_is_understood(tmp_path):
    save_text("umt5", tmp_path / "text_encoder", tmp_path / "tokenizer")
    assert PretrainedText(tmp_path, length=8)(["nod"]).tokens_BLD.shape == (1, 8, 24)


def test_long_prompts_and_wrong_folders_are_told(tmp_path):
    with pytest.raises(ValueError, match=r"holds no config\.json"):
        PretrainedText(tmp_path)
    save_text("umt5", tmp_path)
    with pytest.raises(ValueError, match="prompt of 12 tokens is above the limit of 8"):
        PretrainedText(tmp_path, length=8)(["nodding so"])
    transformers.BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1).save_pretrained(tmp_path / "b")
    with pytest.raises(ValueError, match="is a bert; text encoders are umt5, t5"):
        PretrainedText(tmp_path / "b")
