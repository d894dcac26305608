"""A training that was killed goes on as if nothing had happened: ``lightning fit`` on a tiny recipe."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import torch

from lpm.cli import main
from shard_work import saved, tiny_overlay

RECIPE = Path(__file__).parents[2] / "recipes/base.yaml"
DRAWN = "import sys; from shard_work import commands; commands([sys.argv[1:]])"
AVERAGE = {"class_path": "lpm.train.Average", "init_args": {"decay": 0.5}}


def words(folder: Path, die_at: int = -1) -> list[str]:
    folder.mkdir(exist_ok=True)
    death = {"class_path": "shard_work.Die", "init_args": {"step": die_at}}
    callbacks = [AVERAGE, saved(folder), {"class_path": "lpm.train.SeedSteps"}, death]
    overlay = tiny_overlay(folder / f"overlay-{die_at}.yaml", 6, callbacks, folder.parent / "corpus")
    return ["fit", "--config", str(RECIPE), "--config", overlay, f"--trainer.default_root_dir={folder}"]


def test_killed_and_resumed_equals_uninterrupted(corpus, tmp_path, monkeypatch):
    monkeypatch.setattr("lpm.train.data.build_corpus", lambda *_: None)
    shutil.copytree(corpus / "shards", tmp_path / "corpus/shards")
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert main(words(whole)) == 0
    command = [sys.executable, "-c", DRAWN, *words(killed, 3)]
    paths = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    run = subprocess.run(command, env=paths, capture_output=True, text=True)
    assert run.returncode == -signal.SIGKILL, run.stderr
    assert sorted(path.name for path in killed.glob("*.ckpt")) == ["step=2.ckpt"]
    assert main([*words(killed), "--ckpt_path", str(killed / "step=2.ckpt")]) == 0
    expected, found = (torch.load(folder / "step=6.ckpt", weights_only=True) for folder in (whole, killed))
    for key in ("state_dict", "current_model_state"):
        assert found[key].keys() == expected[key].keys()
        assert [name for name, tensor in expected[key].items() if not torch.equal(tensor, found[key][name])] == []
