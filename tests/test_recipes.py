"""Every recipe parses and builds; an overlay does so on top of the recipe it changes."""

from pathlib import Path

import pytest
import torch
import yaml
from lightning import LightningModule, Trainer

from lpm.cli import main
from lpm.cli.trainer import LPMCLI, cli
from lpm.data import continue_from_causal, draw_kinds
from lpm.data.puppets.references import ALONE
from lpm.distill import LpipsDistance
from lpm.sample import base_puppet
from lpm.sample.pretrained import load_weights, own_weights, read_weights
from lpm.train import DistributionTraining, OdeTraining, SeedSteps
from tiny_weights import save_encoders

RECIPES = Path(__file__).parent.parent / "recipes"
FILES = sorted(path.relative_to(RECIPES).as_posix() for path in RECIPES.rglob("*.yaml"))
PREDICT = {"predict.yaml", "stream.yaml"}
# 14b and 17b are built below; 1b is built, trained and more in train/test_real_weights.py
NEED_WEIGHTS = {"overlay/1b.yaml", "overlay/14b.yaml", "overlay/17b.yaml"}


def words(name: str) -> list[str]:
    special = {
        "overlay/decoder.yaml": ["codec.yaml"],
        "overlay/turned.yaml": ["codec.yaml"],
        "overlay/14b.yaml": ["base.yaml", "overlay/17b.yaml"],
    }
    below = special.get(name, ["base.yaml"] if name.startswith("overlay/") else [])
    return [word for file in (*below, name) for word in ("--config", str(RECIPES / file))]


def build(name: str, folder: Path, *more: str) -> LPMCLI:
    tiny = ["--trainer.accelerator=cpu", f"--trainer.default_root_dir={folder}", "--trainer.fast_dev_run=true"]
    return cli("lpm", [*words(name), *tiny, *more], run=False)


@pytest.mark.parametrize("name", FILES)
def test_recipe_parses(name, capsys):
    job = "predict" if name in PREDICT else "fit"
    assert main([job, *words(name), "--print_config"]) == 0
    assert "class_path" in capsys.readouterr().out


@pytest.mark.parametrize("name", [name for name in FILES if name not in NEED_WEIGHTS])
def test_recipe_builds(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    built = build(name, tmp_path)
    assert isinstance(built.model, LightningModule)
    assert isinstance(built.trainer, Trainer)
    assert name in PREDICT or isinstance(built.model, (OdeTraining, DistributionTraining)) or seeds_steps(built.trainer)


def seeds_steps(trainer: Trainer) -> bool:
    """Whether chance is of the step: neither resuming nor what was drawn before the first step changes a training."""
    return any(isinstance(callback, SeedSteps) for callback in trainer.callbacks)


@pytest.mark.parametrize(("size", "billions", "hears"), [("14b", 14.3, False), ("17b", 17.5, True)])
def test_recipe_of_a_large_network_builds(size, billions, hears, tmp_path, monkeypatch):
    """Around tiny encoders; the network itself without storage."""
    pytest.importorskip("diffusers")
    pytest.importorskip("transformers")
    monkeypatch.chdir(tmp_path)
    save_encoders()
    built = build(f"overlay/{size}.yaml", tmp_path)
    assert built.datamodule.cut.beginning is continue_from_causal
    network = built.model.model.backbone.on_meta()
    assert sum(parameter.numel() for parameter in network.parameters()) == pytest.approx(billions * 1e9, rel=0.01)
    assert (network.speak is not None, network.listen is not None) == (hears, hears)


def test_the_first_stage_of_the_curriculum_goes_with_a_large_network(tmp_path, monkeypatch):
    """The partner's voice is not trained, and the clips are those of the stage."""
    pytest.importorskip("diffusers")
    pytest.importorskip("transformers")
    monkeypatch.chdir(tmp_path)
    save_encoders()
    files = [word for file in ("base/speak.yaml", "overlay/17b.yaml") for word in ("--config", str(RECIPES / file))]
    built = cli("lpm", [*files, "--trainer.accelerator=cpu", "--trainer.fast_dev_run=true"], run=False)
    network = built.model.model.backbone.on_meta()
    learns = [any(p.requires_grad for p in part.parameters()) for part in (network.speak, network.listen)]
    assert learns == [True, False]
    assert built.datamodule.mixture is not None


STAGES = ("speak", "listen", "identity")


def test_stages_of_the_curriculum_continue_each_other(tmp_path, monkeypatch):
    """One corpus, one model whose weights fit the next stage, and each begins where the one before ended."""
    files = [yaml.safe_load((RECIPES / "base" / f"{stage}.yaml").read_text()) for stage in STAGES]
    ends = [file["trainer"]["default_root_dir"] + "/last.ckpt" for file in files]
    assert [file["model"]["init_args"]["start"] for file in files] == [None, *ends[:2]]
    assert files[0]["data"]["init_args"]["corpus"] == files[1]["data"]["init_args"]["corpus"]
    assert files[1]["data"]["init_args"]["corpus"] == files[2]["data"]["init_args"]["corpus"]
    assert all(file["model"]["init_args"]["objective"] == files[0]["model"]["init_args"]["objective"] for file in files)
    monkeypatch.chdir(tmp_path)
    models = [build(f"base/{stage}.yaml", tmp_path).model for stage in STAGES]
    for before, after in zip(models, models[1:]):
        load_weights(after.model, own_weights(before.model))
    learns = [any(p.requires_grad for p in model.model.backbone.listen.parameters()) for model in models]
    assert learns == [False, True, True]
    assert models[2].dropout.rates["references"] == 0


def test_identity_shows_other_references_on_thirty_percent_of_the_clips():
    """Of all clips: a clip has no body view with chance ``ALONE``, and independently no expression."""
    data = yaml.safe_load((RECIPES / "base/identity.yaml").read_text())["data"]["init_args"]
    assert data["extra_references"] * (1 - ALONE**2) == pytest.approx(0.3)


def test_references_are_learnt_from_the_weights_that_ship(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    built = build("overlay/references.yaml", tmp_path)
    assert built.datamodule.cut.references is draw_kinds
    model = built.model
    shipped = read_weights(model.start)
    load_weights(model.model, shipped)
    assert all((tensor == shipped[name]).all() for name, tensor in own_weights(model.model).items())
    assert model.dropout.rates["references"] == 0


def test_preferences_are_tuned_as_the_weights_that_ship_perform(tmp_path, monkeypatch):
    """Candidates are made with the guidance of the shipped weights; so are the performances before and after."""
    monkeypatch.chdir(tmp_path)
    assert build("dpo.yaml", tmp_path).model.model.guidance == base_puppet().guidance


def test_the_perceptual_term_may_be_lpips(tmp_path, monkeypatch):
    """As the comment in the recipe says; the layers are those of torchvision, their weights random."""
    vgg = pytest.importorskip("torchvision.models.vgg")
    monkeypatch.chdir(tmp_path)
    layers = vgg.make_layers(vgg.cfgs["D"], batch_norm=False).state_dict()
    torch.save({f"features.{name}": tensor for name, tensor in layers.items()}, "vgg16.pth")
    term = "--model.init_args.stage.init_args.perceptual"
    choice = [f"{term}=lpm.distill.LpipsDistance", f"{term}.init_args.weights=vgg16.pth"]
    distance = build("online/off_policy.yaml", tmp_path, *choice).model.stage.perceptual
    assert isinstance(distance, LpipsDistance)
    own = distance.network.net.state_dict()
    assert len(own) == len(layers) == 26
    assert all(torch.equal(tensor, layers[name.partition(".")[2]]) for name, tensor in own.items())
