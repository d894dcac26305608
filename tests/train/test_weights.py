"""``lpm weights convert`` and ``info`` on tiny random Wan2.1 weights in the true formats."""

import json

import pytest
import torch
from safetensors.torch import load_file

from lpm.backbone import pretrained_dit
from lpm.cli import main
from lpm.types import Conditions, TextFeatures
from tiny_weights import HEAD_WIDTH, HEADS, wan_transformer

pytest.importorskip("diffusers")


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
        torch.testing.assert_close(ours, model(video, torch.tensor([400.0]), text).sample, atol=1e-5, rtol=1e-5)


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


def test_the_image_path_is_listed_as_left_out(tmp_path, capsys):
    wan(tmp_path / "t", in_channels=12, image_dim=12, added_kv_proj_dim=HEADS * HEAD_WIDTH)
    assert main(["weights", "convert", str(tmp_path / "t"), str(tmp_path / "out")]) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if "image path, left out" in line)
    assert "18" in line  # norms and two layers of the embedding; keys, values and norms of two blocks


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
    for name, message in cases.items():
        assert main(["weights", "convert", str(tmp_path / name), str(tmp_path / "out")]) == 2
        assert message in capsys.readouterr().err
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
    with pytest.raises(ValueError, match=r"keys do not fit\nunknown: blocks\.1\."):
        pretrained_dit(str(out))
    with pytest.raises(ValueError, match=r"holds no config\.json"):
        pretrained_dit(str(tmp_path))
