"""Folders of what a model made are named after its weights: neither their place nor their card counts."""

import shutil
from importlib.resources import as_file, files

import pytest

from lpm.codec.pretrained import shipped_codec
from lpm.train import checkpoint
from lpm.train.checkpoint import fingerprint


@pytest.fixture
def weights(tmp_path):
    """A copy of the shipped weights, to change."""
    with as_file(files("lpm.sample") / "weights" / "base") as folder:
        return shutil.copytree(folder, tmp_path / "weights")


def test_equal_weights_are_one_wherever_they_lie_and_whatever_their_card_says(weights, tmp_path):
    assert fingerprint(weights) == fingerprint(None)
    assert fingerprint(shutil.copytree(weights, tmp_path / "other")) == fingerprint(None)
    (weights / "README.md").write_text("Another card.")
    assert fingerprint(weights) == fingerprint(None)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_one_byte_makes_them_others(weights, name):
    with (weights / name).open("ab") as file:
        file.write(b"\n")
    assert fingerprint(weights) != fingerprint(None)


def test_a_builder_counts_by_what_it_builds(model, monkeypatch):
    monkeypatch.setattr(checkpoint, "load_performance", lambda source: model)
    before = fingerprint("lpm.sample.base_puppet")
    assert fingerprint("lpm.sample.base_puppet") == before
    model.guidance = {"speak": 1.25}
    assert fingerprint("lpm.sample.base_puppet") not in (before, "lpm.sample.base_puppet")
    model.guidance = {}
    next(model.backbone.parameters()).data += 1
    assert fingerprint("lpm.sample.base_puppet") != before
    assert fingerprint("runs/nothing.ckpt") == "runs/nothing.ckpt"


def test_another_codec_makes_a_folder_another_since_the_folder_leaves_it_out(weights, tmp_path, monkeypatch):
    before = fingerprint(weights)
    codec = tmp_path / "tiny.safetensors"
    codec.write_bytes(shipped_codec().read_bytes() + b"\n")
    monkeypatch.setattr(checkpoint, "shipped_codec", lambda: codec)
    assert fingerprint(weights) != before
