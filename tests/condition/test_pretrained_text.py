"""T5 encoders of transformers on tiny random weights in the true format."""

import pytest
import torch
from safetensors.torch import load_file, save_file

from lpm.condition import PretrainedText
from lpm.condition.umt5_weights import from_umt5, save_umt5, umt5_shape
from lpm.nn import KeysDiffer
from tiny_weights import original_umt5, save_text

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
        torch.testing.assert_close(features.tokens_BLD[row, : ids.shape[1]], truth, atol=1e-5, rtol=0)
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


@pytest.mark.parametrize("name", ["shared.weight", "encoder.block.1.layer.0.SelfAttention.q.weight"])
def test_weights_that_are_not_in_the_folder_are_told_and_not_drawn(name, tmp_path):
    save_text("umt5", tmp_path)
    file = tmp_path / "model.safetensors"
    save_file({key: tensor for key, tensor in load_file(file).items() if key != name}, file)
    with pytest.raises(KeysDiffer, match=rf"\n{name} +missing"):
        PretrainedText(tmp_path)


def release_encoder(tensors, ids):
    """umT5's encoder written from its description, on the keys of Wan2.1's release: one sentence, (L,) -> (L, D)."""
    weight = lambda name: tensors[f"{name}.weight"].double()  # noqa: E731
    norm = lambda x, name: x * (x.square().mean(-1, keepdim=True) + 1e-6).rsqrt() * weight(name)  # noqa: E731
    x = weight("token_embedding")[ids]
    apart = torch.arange(len(ids))[None] - torch.arange(len(ids))[:, None]  # key minus query
    far = 8 + (torch.log(apart.abs() / 8) / torch.log(torch.tensor(128 / 8)) * 8).clamp(max=7).nan_to_num(0).long()
    bucket = torch.where(apart.abs() < 8, apart.abs(), far) + 16 * (apart > 0)
    for block in (f"blocks.{index}" for index in range(2)):
        y, heads = norm(x, f"{block}.norm1"), weight(f"{block}.pos_embedding.embedding").shape[1]
        query, key, value = ((y @ weight(f"{block}.attn.{n}").T).unflatten(1, (heads, -1)) for n in "qkv")
        scores = torch.einsum("ihk,jhk->hij", query, key)
        scores = scores + weight(f"{block}.pos_embedding.embedding")[bucket].permute(2, 0, 1)
        mixed = torch.einsum("hij,jhk->ihk", scores.softmax(-1), value).flatten(1)
        x = x + mixed @ weight(f"{block}.attn.o").T
        y = norm(x, f"{block}.norm2")
        gate = torch.nn.functional.gelu(y @ weight(f"{block}.ffn.gate.0").T, approximate="tanh")
        x = x + (gate * (y @ weight(f"{block}.ffn.fc1").T)) @ weight(f"{block}.ffn.fc2").T
    return norm(x, "norm")


def test_umt5_of_the_release_equals_its_own_formula(tmp_path):
    model, tokenizer = save_text("umt5", tmp_path / "theirs", tmp_path / "words")
    tensors = original_umt5({name: 3 * tensor for name, tensor in model.state_dict().items()})
    save_umt5(tensors, tmp_path / "ours", tmp_path / "words")
    prompt = "she nods and smiles as he speaks on"
    ids = tokenizer(prompt, return_tensors="pt").input_ids[0]
    assert len(ids) > 30  # far positions, too
    found = PretrainedText(tmp_path / "ours", length=len(ids))([prompt]).tokens_BLD[0]
    torch.testing.assert_close(found.double(), release_encoder(tensors, ids), atol=1e-4, rtol=0)


def test_published_umt5_fits_key_by_key():
    """The published encoder has 242 tensors of 11,361,820,672 bytes in bfloat16."""
    config = transformers.UMT5Config(
        vocab_size=256384,
        d_model=4096,
        d_kv=64,
        d_ff=10240,
        num_layers=24,
        num_heads=64,
        feed_forward_proj="gated-gelu",
    )
    with torch.device("meta"):
        tensors = original_umt5(transformers.UMT5EncoderModel(config).state_dict())
    ours = from_umt5(tensors)
    assert len(ours) == 242 and 2 * sum(tensor.numel() for tensor in ours.values()) == 11_361_820_672
    assert umt5_shape(tensors) == {"V": 256384, "D": 4096, "I": 4096, "P": 32, "H": 64, "F": 10240, "N": 24}


def test_keys_of_umt5_that_do_not_fit_are_told(tmp_path):
    model, _ = save_text("umt5", tmp_path)
    tensors = original_umt5(model.state_dict())
    del tensors["blocks.1.norm2.weight"]
    tensors["norm.weight"] = torch.ones(3)
    with pytest.raises(KeysDiffer) as caught:
        from_umt5(tensors)
    assert str(caught.value).splitlines() == [
        "umT5 (layout of Wan2.1's release): 1 missing, 1 misshapen",
        "key                    is         needs  has",
        "blocks.1.norm2.weight  missing    (24,)  -",
        "norm.weight            misshapen  (24,)  (3,)",
    ]
