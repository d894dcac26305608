"""The curriculum's three recipes, one after the other, each from the checkpoint file of the one before."""

import shutil
from pathlib import Path

import pytest
import torch

from lpm.cli import main
from lpm.cli.trainer import cli
from lpm.sample.pretrained import own_weights
from lpm.train import base
from lpm.train.checkpoint import load_model
from shard_work import tiny_overlay

RECIPES = Path(__file__).parents[2] / "recipes/base"
SMALL = "{class_path: lpm.backbone.puppet_small}"
MUTED = f"{{class_path: lpm.backbone.muted, init_args: {{network: {SMALL}}}}}"


@pytest.fixture
def words(corpus, tmp_path, monkeypatch):
    """The options of each stage at tiny size, which saves as its recipe does and averages nothing."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("lpm.train.data.build_corpus", lambda *_: None)
    shutil.copytree(corpus / "shards", "corpus/shards")

    def of(stage):
        saver = {"dirpath": f"runs/{stage}", "every_n_train_steps": 350, "save_last": True}
        callbacks = [{"class_path": "lightning.pytorch.callbacks.ModelCheckpoint", "init_args": saver}]
        callbacks.append({"class_path": "lpm.train.SaveLast"})
        overlay = tiny_overlay(Path(f"{stage}.yaml"), 2, callbacks, "corpus", MUTED if stage == "speak" else SMALL)
        configs = ["--config", str(RECIPES / f"{stage}.yaml"), "--config", overlay]
        return [*configs, "--data.mixture=null", "--data.frames=9", "--model.warmup=1"]

    return of


def hearing(model, voice):
    """All weights that read one voice."""
    path = model.backbone.audio_path(voice)
    return torch.cat([parameter.detach().flatten() for part in path for parameter in part.parameters()])


def test_each_stage_begins_with_the_file_of_the_one_before(words, monkeypatch):
    begun, load = [], base.load_weights
    monkeypatch.setattr(base, "load_weights", lambda model, weights: (begun.append(weights), load(model, weights)))
    models = [cli("lpm", words("speak"), run=False).model.model.eval()]
    for stage in ("speak", "listen", "identity"):
        assert main(["fit", *words(stage)]) == 0
        models.append(load_model(f"runs/{stage}/last.ckpt"))
    fresh, speak, listen, identity = models
    assert torch.equal(hearing(speak, "listen"), hearing(fresh, "listen"))
    assert not torch.equal(hearing(speak, "speak"), hearing(fresh, "speak"))
    assert not torch.equal(hearing(listen, "listen"), hearing(speak, "listen"))
    assert not torch.equal(hearing(identity, "listen"), hearing(listen, "listen"))
    for weights, before in zip(begun, (speak, listen), strict=True):
        assert all(torch.equal(weights[name], tensor) for name, tensor in own_weights(before).items())
