"""Every recipe parses and builds; an overlay does so on top of the recipe it changes."""

from pathlib import Path

import pytest
from lightning import LightningModule, Trainer

from lpm.cli import main
from lpm.cli.trainer import LPMCLI, cli

RECIPES = Path(__file__).parent.parent / "recipes"
FILES = sorted(path.relative_to(RECIPES).as_posix() for path in RECIPES.rglob("*.yaml"))
# 1b is built, trained and more in train/test_real_weights.py
NEED_WEIGHTS = {"overlay/1b.yaml", "overlay/14b.yaml", "overlay/17b.yaml"}


def words(name: str) -> list[str]:
    special = {"overlay/decoder.yaml": ["codec.yaml"], "overlay/14b.yaml": ["base.yaml", "overlay/17b.yaml"]}
    below = special.get(name, ["base.yaml"] if name.startswith("overlay/") else [])
    return [word for file in (*below, name) for word in ("--config", str(RECIPES / file))]


def build(name: str, folder: Path) -> LPMCLI:
    tiny = ["--trainer.accelerator=cpu", f"--trainer.default_root_dir={folder}", "--trainer.fast_dev_run=true"]
    return cli("lpm", [*words(name), *tiny], run=False)


@pytest.mark.parametrize("name", FILES)
def test_recipe_parses(name, capsys):
    job = "predict" if name == "predict.yaml" else "fit"
    assert main([job, *words(name), "--print_config"]) == 0
    assert "class_path" in capsys.readouterr().out


@pytest.mark.parametrize("name", [name for name in FILES if name not in NEED_WEIGHTS])
def test_recipe_builds(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    built = build(name, tmp_path)
    assert isinstance(built.model, LightningModule)
    assert isinstance(built.trainer, Trainer)
