"""``lpm weights convert`` and ``info`` on tiny random Wan2.1 weights in the true formats."""

import json
import re
import shutil

import pytest
import torch
from huggingface_hub import save_torch_state_dict
from safetensors.torch import load_file, save_file

from bad_input import error_line
from lpm.backbone import pretrained_dit
from lpm.cli import main
from lpm.codec import wan_codec
from lpm.codec.wan_weights import pairs, wan_codec_from
from lpm.condition import PretrainedText
from lpm.types import Conditions, TextFeatures
from tiny_weights import HEAD_WIDTH, HEADS, original_umt5, original_wan, save_text, wan_autoencoder, wan_transformer

pytest.importorskip("diffusers")
IMAGE = {"k_img": "add_k_proj", "v_img": "add_v_proj"}
EMBEDDING = {"proj.0": "norm1", "proj.1": "ff.net.0.proj", "proj.3": "ff.net.2", "proj.4": "norm2"}
LEFT_OUT = {  # what Wan2.1's image-to-video models have, in a model of two blocks
    "original": {
        **{f"blocks.*.cross_attn.{name}.{end}": 2 for name in IMAGE for end in ("weight", "bias")},
        "blocks.*.cross_attn.norm_k_img.weight": 2,
        **{f"img_emb.{name}.{end}": 1 for name in EMBEDDING for end in ("weight", "bias")},
        "patch_embedding.weight[:, 4:]": 1,
    },
    "diffusers": {
        **{f"blocks.*.attn2.{name}.{end}": 2 for name in IMAGE.values() for end in ("weight", "bias")},
        "blocks.*.attn2.norm_added_k.weight": 2,
        **{
            f"condition_embedder.image_embedder.{name}.{end}": 1
            for name in EMBEDDING.values()
            for end in ("weight", "bias")
        },
        "patch_embedding.weight[:, 4:]": 1,
    },
}


def release(model, folder, layout, shard):
    """Write a transformer as the original release has it, or as diffusers does, whole or in shards with an index."""
    if layout == "diffusers":
        model.save_pretrained(folder / "transformer", max_shard_size=shard)
        (folder / "model_index.json").write_text("{}")
        return folder
    folder.mkdir()
    name = "diffusion_pytorch_model{suffix}.safetensors"
    save_torch_state_dict(original_wan(model.state_dict()), folder, filename_pattern=name, max_shard_size=shard)
    assert len(list(folder.glob("*.index.json"))) == (shard == "20KB")
    numbers = {"dim": HEADS * HEAD_WIDTH, "num_heads": HEADS, "num_layers": 2, "model_type": "i2v"}
    (folder / "config.json").write_text(json.dumps(numbers))
    return folder


def wan(folder, shard="10GB", **settings):
    model = wan_transformer(**settings)
    model.save_pretrained(folder, max_shard_size=shard)
    return model


def same_as(model, network):
    generator = torch.Generator().manual_seed(2)
    video = torch.randn(1, 4, 3, 6, 8, generator=generator)
    text = torch.randn(1, 7, 24, generator=generator)
    conditions = Conditions(text=TextFeatures(text, torch.ones(1, 7, dtype=torch.bool)))
    with torch.no_grad():
        ours = network(video.transpose(1, 2), torch.full((1, 3), 0.4), conditions, 16.0).transpose(1, 2)
        torch.testing.assert_close(ours, model(video, torch.tensor([400.0]), text).sample, atol=1e-5, rtol=0)


@pytest.mark.parametrize("shard", ["10GB", "20KB"])
def test_converted_weights_load_and_equal_diffusers(shard, tmp_path, capsys):
    root = tmp_path / "Wan2.1-Diffusers"
    model = wan(root / "transformer", shard)
    (root / "model_index.json").write_text("{}")
    assert (len(list((root / "transformer").glob("*.safetensors"))) > 1) == (shard == "20KB")
    assert main(["weights", "convert", str(root), str(tmp_path / "out"), "--audio_width", "8"]) == 0
    assert "converted" in capsys.readouterr().out
    network = pretrained_dit(str(tmp_path / "out"))
    assert network.speak is not None
    same_as(model, network)


def test_without_audio_and_in_half_precision(tmp_path):
    wan(tmp_path / "transformer")
    words = ["--audio_width", "null", "--half"]
    assert main(["weights", "convert", str(tmp_path / "transformer"), str(tmp_path / "out"), *words]) == 0
    assert {t.dtype for t in load_file(tmp_path / "out" / "model.safetensors").values()} == {torch.bfloat16}
    assert pretrained_dit(str(tmp_path / "out")).speak is None


@pytest.mark.parametrize("layout", ["diffusers", "original"])
@pytest.mark.parametrize("shard", ["10GB", "20KB"])
def test_every_model_and_layout_is_converted_and_the_image_path_listed(layout, shard, tmp_path, capsys):
    model = wan_transformer(in_channels=12, image_dim=12, added_kv_proj_dim=HEADS * HEAD_WIDTH)
    source = release(model, tmp_path / "Wan2.1-I2V-14B-480P", layout, shard)
    assert main(["weights", "info", str(source)]) == 0
    assert f"{layout} layout" in capsys.readouterr().out
    assert main(["weights", "convert", str(source), str(tmp_path / "out"), "--audio_width", "null"]) == 0
    table = capsys.readouterr().out
    listed = dict(re.findall(r"left out: (.+?) +│ +(\d+) ", table))
    assert listed == {name: str(count) for name, count in LEFT_OUT[layout].items()}
    plain = wan_transformer()
    tensors = {name: tensor for name, tensor in model.state_dict().items() if name in plain.state_dict()}
    plain.load_state_dict(tensors | {"patch_embedding.weight": tensors["patch_embedding.weight"][:, :4]})
    same_as(plain, pretrained_dit(str(tmp_path / "out")))


def test_keys_that_do_not_fit_are_a_table_and_one_line(tmp_path, capsys):
    tensors = dict(wan_transformer().state_dict())
    del tensors["blocks.1.attn2.to_q.bias"]
    tensors["blocks.0.ffn.net.2.bias"] = torch.zeros(3)
    tensors["vace_blocks.0.proj.weight"] = torch.zeros(2, 3)
    save_file(tensors, tmp_path / "wan.safetensors")
    (tmp_path / "config.json").write_text(json.dumps({"attention_head_dim": HEAD_WIDTH}))
    assert main(["weights", "convert", str(tmp_path / "wan.safetensors"), str(tmp_path / "out")]) == 2
    lines = capsys.readouterr().err.splitlines()[-5:]
    assert lines == [
        "key                        is         needs  has",
        "blocks.1.attn2.to_q.bias   missing    (32,)  -",
        "vace_blocks.0.proj.weight  unknown    -      (2, 3)",
        "blocks.0.ffn.net.2.bias    misshapen  (32,)  (3,)",
        "error: Wan2.1 transformer (diffusers layout): 1 missing, 1 unknown, 1 misshapen; "
        "are these the weights of Wan2.1?",
    ]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("layout", ["diffusers", "original"])
def test_blocks_that_the_config_counts_and_the_files_lack_are_told(layout, tmp_path, capsys):
    source = release(wan_transformer(), tmp_path / "wan", layout, "10GB")
    file = next(source.rglob("*.safetensors"))
    save_file({name: tensor for name, tensor in load_file(file).items() if "blocks.1." not in name}, file)
    assert main(["weights", "info", str(source)]) == 0
    shown = re.findall(r"(depth|missing blocks) +│ (\d+)", capsys.readouterr().out)
    assert shown == [("depth", "2"), ("missing blocks", "1")]
    assert main(["weights", "convert", str(source), str(tmp_path / "out")]) == 2
    message = capsys.readouterr().err
    assert "27 missing; are these" in message and len(re.findall(r"^blocks\.1\..+ missing", message, re.M)) == 27
    assert not (tmp_path / "out").exists()


def test_umt5_of_the_release_becomes_a_folder_with_its_tokenizer(tmp_path, capsys):
    pytest.importorskip("transformers")
    root = tmp_path / "Wan2.1-T2V-1.3B"
    model, _ = save_text("umt5", tmp_path / "t5", root / "google" / "umt5-xxl")
    torch.save(original_umt5(model.state_dict()), root / "models_t5_umt5-xxl-enc-bf16.pth")
    source, out = str(root / "models_t5_umt5-xxl-enc-bf16.pth"), str(tmp_path / "out")
    assert main(["weights", "info", source]) == 0 and "umT5, layout of Wan2.1's release" in capsys.readouterr().out
    assert main(["weights", "convert", source, out]) == 0
    assert main(["weights", "info", out]) == 0 and "umt5 in transformers' format" in capsys.readouterr().out
    prompt = ["she nods", ""]
    shutil.copytree(root / "google" / "umt5-xxl", tmp_path / "t5", dirs_exist_ok=True)
    truth = PretrainedText(tmp_path / "t5", length=20)(prompt).tokens_BLD
    assert torch.equal(PretrainedText(out, length=20)(prompt).tokens_BLD, truth)


@pytest.mark.parametrize("layout", ["diffusers", "original"])
def test_an_autoencoder_is_told_and_needs_no_conversion(layout, tmp_path, capsys):
    theirs = wan_autoencoder().state_dict()
    codec = wan_codec_from(theirs)
    original = {name: codec.state_dict()[ours] for ours, name in pairs(codec, 1)}
    file = tmp_path / "Wan2.1_VAE.pth"
    torch.save(theirs if layout == "diffusers" else original, file)
    assert main(["weights", "info", str(file)]) == 0
    shown = capsys.readouterr().out
    assert "Wan2.1 autoencoder" in shown and f"{sum(tensor.numel() for tensor in theirs.values()):,}" in shown
    assert main(["weights", "convert", str(file), str(tmp_path / "out")]) == 2
    assert "lpm.codec.wan_codec reads it as it is" in error_line(capsys)
    assert not (tmp_path / "out").exists()
    assert all(torch.equal(tensor, codec.state_dict()[name]) for name, tensor in wan_codec(file).state_dict().items())


def test_info_tells_kind_and_numbers(tmp_path, capsys):
    model = wan(tmp_path / "t")
    assert main(["weights", "info", str(tmp_path / "t")]) == 0
    text = capsys.readouterr().out
    assert "Wan2.1 transformer, diffusers layout" in text and f"{model.num_parameters():,}" in text
    assert main(["weights", "convert", str(tmp_path / "t"), str(tmp_path / "out"), "--audio_width", "8"]) == 0
    capsys.readouterr()
    assert main(["weights", "info", str(tmp_path / "out")]) == 0
    assert "lpm.backbone.wan" in capsys.readouterr().out


def test_bad_sources_are_one_line_and_leave_nothing(tmp_path, capsys):
    (tmp_path / "broken.safetensors").write_bytes(b"no weights")
    (tmp_path / "empty").mkdir()
    wan(tmp_path / "shards", "20KB")
    next(iter((tmp_path / "shards").glob("*-00002-of-*.safetensors"))).unlink()
    cases = {"absent": "are missing", "broken.safetensors": "holds no weights that can be read"}
    cases |= {"empty": "holds no .safetensors", "shards": "lacks 1 shards of"}
    for name, content in {"tensor": torch.zeros(2), "list": [torch.zeros(2)], "dict": {"state_dict": []}}.items():
        torch.save(content, tmp_path / f"{name}.pth")
    cases |= {"tensor.pth": "holds a Tensor, not", "list.pth": "holds a list, not", "dict.pth": "holds a list, not"}
    for name, message in cases.items():
        for words in (["convert", str(tmp_path / name), str(tmp_path / "out")], ["info", str(tmp_path / name)]):
            assert main(["weights", *words]) == 2
            assert message in error_line(capsys)
        assert not (tmp_path / "out").exists()
    wan(tmp_path / "t")
    assert main(["weights", "convert", str(tmp_path / "t"), str(tmp_path / "shards")]) == 2
    assert "exists and is not empty" in capsys.readouterr().err


def test_weights_that_do_not_fit_their_config_are_all_listed(tmp_path):
    wan(tmp_path / "t")
    out = tmp_path / "out"
    assert main(["weights", "convert", str(tmp_path / "t"), str(out), "--audio_width", "8"]) == 0
    spec = json.loads((out / "config.json").read_text())
    spec["init_args"]["depth"] = 1
    (out / "config.json").write_text(json.dumps(spec))
    with pytest.raises(ValueError, match=r"21 unknown\nkey +is +needs +has\nblocks\.1\.attention"):
        pretrained_dit(str(out))
    with pytest.raises(ValueError, match=r"holds no config\.json"):
        pretrained_dit(str(tmp_path))
