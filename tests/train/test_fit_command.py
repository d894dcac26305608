"""``lightning validate`` and ``test`` of a recipe, and ``fit`` on shards that are not what they should be."""

import json
import shutil
from pathlib import Path

import pytest

from bad_input import error_line
from lpm.cli import main
from lpm.data import ShardWriter, read_shard
from shard_work import saved, tiny_overlay

RECIPE = Path(__file__).parents[2] / "recipes/base.yaml"
REPORT = {"class_path": "lpm.train.PerformanceReport", "init_args": {"steps": 1, "chunk": 8, "videos": 1}}


@pytest.fixture
def words(corpus, tmp_path, monkeypatch):
    """The options of a tiny recipe on a corpus of its own, whose folder is ``corpus``."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("lpm.train.data.build_corpus", lambda *_: None)
    shutil.copytree(corpus / "shards", "corpus/shards")
    overlay = tiny_overlay(tmp_path / "tiny.yaml", 2, [saved(tmp_path / "run"), REPORT], tmp_path / "corpus")
    return ["--config", str(RECIPE), "--config", overlay, "--data.measured_frames=9", "--trainer.default_root_dir=run"]


def test_a_checkpoint_is_validated_and_tested_on_people_of_their_own(words, capsys):
    assert main(["fit", *words]) == 0
    assert json.loads(Path("run/performance.json").read_text()).keys() == {"seen", "held_out"}
    capsys.readouterr()
    assert main(["validate", *words, "--ckpt_path=run/step=2.ckpt"]) == 0
    assert "val/loss" in capsys.readouterr().out
    assert main(["test", *words, "--ckpt_path=run/step=2.ckpt"]) == 0
    assert "test/loss" in capsys.readouterr().out
    assert json.loads(Path("run/performance.json").read_text()).keys() == {"test"}
    assert [path.name for path in Path("run/media").glob("test*")] != []


def rewrite(shard: Path, **fields: bytes) -> None:
    """Replace fields of the second sample of a shard."""
    samples = list(read_shard(shard))
    shard.unlink()
    (shard.parent / "index.json").unlink()
    with ShardWriter(shard.parent / "new", "part", samples_per_shard=100) as writer:
        for number, sample in enumerate(samples):
            plain = {name: value for name, value in sample.items() if not name.startswith("__") or name == "__key__"}
            writer.write(plain | (fields if number == 1 else {}))
    Path(writer.shards[0].path).rename(shard)
    shutil.rmtree(shard.parent / "new")


def test_a_corrupt_video_is_one_line_that_names_it_and_leaves_nothing_half_encoded(words, capsys):
    rewrite(Path("corpus/shards/train-000000.tar"), mp4=b"\0" * 500)
    assert main(["fit", *words, "--data.workers=2"]) == 2
    line = error_line(capsys)
    assert "sample clip001 of" in line and "is corrupt" in line
    left = {path.name for path in next(Path("corpus").glob("latents-*")).iterdir()}
    assert {name for name in left if not name.endswith(".tar")} <= {".lock"}
    assert "train-000000.tar" not in left


def test_an_empty_shard_is_one_line_and_nothing_is_encoded(words, capsys):
    Path("corpus/shards/train-000000.tar").write_bytes(b"\0" * 10_240)
    Path("corpus/shards/index.json").unlink()
    assert main(["fit", *words]) == 2
    assert "train-000000.tar holds no samples" in error_line(capsys)
    assert [path.name for path in Path("corpus").iterdir()] == ["shards"]
    assert main(["data", "check", "corpus/shards"]) == 1
    assert "1 empty" in capsys.readouterr().out
