"""A training that was killed goes on as if nothing had happened: ``lightning fit`` on a tiny recipe."""

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import torch

from lpm.cli import main

RECIPE = Path(__file__).parents[2] / "recipes/base.yaml"
OVERLAY = """
trainer:
  accelerator: cpu
  max_steps: 6
  val_check_interval: 6
  log_every_n_steps: 1
  logger: false
  callbacks:
    - class_path: lightning.pytorch.callbacks.EMAWeightAveraging
      init_args: {decay: 0.5}
    - class_path: lightning.pytorch.callbacks.ModelCheckpoint
      init_args: {dirpath: %s, filename: "{step}", every_n_train_steps: 2, save_top_k: -1}
    - class_path: lpm.train.SeedSteps
    - class_path: shard_work.Die
      init_args: {step: %d}
model:
  class_path: lpm.train.BaseTraining
  init_args:
    model:
      class_path: lpm.sample.PerformanceModel
      init_args:
        backbone: {class_path: lpm.backbone.puppet_small}
        text: {class_path: lpm.condition.ByteText, init_args: {width: 32}}
        speak: {class_path: lpm.condition.LogMelEncoder, init_args: {width: 32}}
        listen: {class_path: lpm.condition.LogMelEncoder, init_args: {width: 32}}
data:
  class_path: lpm.train.PuppetData
  init_args: {folder: %s, frames: 9, batch_size: 2, workers: 1}
"""
DRAWN = "import sys, lpm.train.data as d; d.build_corpus = lambda *a: 0; from lpm.cli import main; main(sys.argv[1:])"


def words(folder: Path, die_at: int = -1) -> list[str]:
    overlay = folder / f"overlay-{die_at}.yaml"
    overlay.write_text(OVERLAY % (folder, die_at, folder.parent / "corpus"))
    return ["fit", "--config", str(RECIPE), "--config", str(overlay), f"--trainer.default_root_dir={folder}"]


def end(folder: Path) -> dict:
    return torch.load(folder / "step=6.ckpt", weights_only=True)


def test_killed_and_resumed_equals_uninterrupted(corpus, tmp_path, monkeypatch):
    monkeypatch.setattr("lpm.train.data.build_corpus", lambda *_: None)
    shutil.copytree(corpus / "shards", tmp_path / "corpus/shards")
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    whole.mkdir()
    killed.mkdir()
    assert main(words(whole)) == 0
    run = subprocess.run([sys.executable, "-c", DRAWN, *words(killed, 3)], capture_output=True, text=True)
    assert run.returncode == -signal.SIGKILL, run.stderr
    assert sorted(path.name for path in killed.glob("*.ckpt")) == ["step=2.ckpt"]
    assert main([*words(killed), "--ckpt_path", str(killed / "step=2.ckpt")]) == 0
    for key in ("state_dict", "current_model_state"):
        expected, found = end(whole)[key], end(killed)[key]
        assert found.keys() == expected.keys()
        assert [name for name, tensor in expected.items() if not torch.equal(tensor, found[name])] == []
