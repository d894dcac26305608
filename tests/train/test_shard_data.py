"""Training on one's own shards: encoded once, streamed, resumed exactly."""

import os
import shutil
from pathlib import Path

import pytest
import torch

from bad_input import error_line
from lpm.cli import main
from lpm.data import ShardWriter, first_start, list_shards, read_shard
from lpm.train import ShardData
from lpm.train.encode import plain
from processes import run_processes
from shard_work import places, saved, tiny_overlay

RECIPES = Path(__file__).parents[2] / "recipes"
SETTINGS = {"frames": 9, "batch_size": 2, "history": 0.3, "lookahead": 0.1, "workers": 1}


@pytest.fixture
def own(corpus, tmp_path):
    """A folder of shards with nothing that only puppets have."""
    folder = tmp_path / "own"
    for split in ("train", "val"):
        with ShardWriter(folder, split, samples_per_shard=3) as writer:
            for shard in list_shards(corpus / "shards", f"{split}-"):
                for sample in read_shard(shard.path):
                    writer.write({name: value for name, value in plain(sample).items() if name != "truth.npz"})
    return folder


def drawn(data: ShardData, batches: int) -> list[torch.Tensor]:
    """The latents of the first batches, each noted as used."""
    found = []
    for batch in data.train_dataloader():
        data.train_clips.advance(batch)
        found.append(batch.latents_BTCYX)
        if len(found) == batches:
            return found


def test_clips_are_encoded_once_and_streamed(own, codec):
    data = ShardData(str(own), codec, start=first_start, beginning=None, **SETTINGS)
    data.prepare_data()
    made = {path: path.stat().st_mtime_ns for path in data.encoded.glob("*.tar")}
    data.prepare_data()
    assert made == {path: path.stat().st_mtime_ns for path in data.encoded.glob("*.tar")} and len(made) == 3
    pixels = ShardData(str(own), codec, pixels=True, start=first_start, **SETTINGS)
    latents, videos = next(iter(data.train_dataloader())), next(iter(pixels.train_dataloader()))
    assert latents.keys == videos.keys and videos.latents_BTCYX is None
    assert torch.allclose(latents.latents_BTCYX, codec.encode(videos.video_BTCHW), atol=2e-2)  # stored in half
    assert next(iter(data.val_dataloader())).keys == ["clip008", "clip009"]
    assert data.test_dataloader() == []


def test_a_shard_that_was_written_anew_is_encoded_anew_and_one_that_was_deleted_is_not_read(own, codec, sample_of):
    data = ShardData(str(own), codec, **SETTINGS)
    data.prepare_data()
    (own / "train-000001.tar").unlink()
    (own / "index.json").unlink()
    with ShardWriter(own / "new", "train", samples_per_shard=9) as writer:
        writer.write({**sample_of(11), "__key__": "new"})
    shutil.move(own / "new/train-000000.tar", own / "train-000000.tar")
    os.utime(own / "train-000000.tar")
    data.prepare_data()
    data.batch_size = 1
    assert {key for batch, _ in zip(data.train_dataloader(), range(4)) for key in batch.keys} == {"new"}


def test_clips_that_cannot_be_encoded_are_left_out_and_counted(own, codec, sample_of, capsys, caplog):
    for shard in own.glob("train-*"):
        shard.unlink()
    with ShardWriter(own, "train", samples_per_shard=9) as writer:
        writer.write({**sample_of(0), "mp4": b"\0" * 500})
        writer.write(sample_of(1))
    data = ShardData(str(own), codec, **SETTINGS)
    data.prepare_data()
    assert "3 clips encoded; left out: 1 unreadable" in " ".join(capsys.readouterr().out.split())
    assert "sample clip000" in caplog.text
    assert {key for batch in drawn_keys(data, 2) for key in batch} == {"clip001"}


def drawn_keys(data: ShardData, batches: int) -> list[list[str]]:
    """The keys of the first batches."""
    return [batch.keys for batch, _ in zip(data.train_dataloader(), range(batches))]


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_saved_place_goes_on_where_it_was(own, codec, num_workers):
    first, second = (ShardData(str(own), codec, num_workers=num_workers, **SETTINGS) for _ in range(2))
    first.prepare_data()
    whole = drawn(first, 6)
    interrupted = ShardData(str(own), codec, num_workers=num_workers, **SETTINGS)
    drawn(interrupted, 3)
    second.load_state_dict(interrupted.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(whole[3:], drawn(second, 3), strict=True))


def test_processes_share_the_clips_and_save_the_places_of_all(own, codec, tmp_path):
    ShardData(str(own), codec, **SETTINGS).prepare_data()
    (mine, state), (others, same) = run_processes(places, 2, tmp_path, str(own), codec, SETTINGS)
    assert not {key for keys in mine for key in keys} & {key for keys in others for key in keys}
    assert state == same and state["train"]["ranks"].keys() == {0, 1}


@pytest.mark.parametrize("overlay", [[], ["--data.pixels=true"]])
def test_the_recipe_trains_on_them_resumes_and_shows_clips(own, tmp_path, monkeypatch, capsys, overlay):
    monkeypatch.chdir(tmp_path)
    report = {"class_path": "lpm.train.PerformanceReport", "init_args": {"steps": 1, "chunk": 8, "videos": 1}}
    tiny = tiny_overlay(
        tmp_path / "tiny.yaml",
        4,
        [saved(tmp_path / "run"), {"class_path": "lpm.train.SeedSteps"}, report],
        tmp_path / "corpus",
    )
    files = [str(RECIPES / "base.yaml"), tiny, str(RECIPES / "overlay/own.yaml")]
    words = [word for file in files for word in ("--config", file)]
    words += [f"--data.shards={own}", "--data.measured_frames=9", "--data.batch_size=2", *overlay]
    assert main(["fit", *words, "--trainer.default_root_dir=run"]) == 0
    assert "not measured, clips have no ground truth" in " ".join(capsys.readouterr().out.split())
    assert {path.suffix for path in Path("run/media").iterdir()} == {".mp4", ".png"}
    assert not Path("run/performance.json").exists()
    whole = torch.load("run/step=4.ckpt", weights_only=False)
    Path("run/step=4.ckpt").unlink()
    assert main(["fit", *words, "--trainer.default_root_dir=run", "--ckpt_path=run/step=2.ckpt"]) == 0
    resumed = torch.load("run/step=4.ckpt", weights_only=False)
    assert all(torch.equal(value, resumed["state_dict"][name]) for name, value in whole["state_dict"].items())


def test_a_folder_without_training_shards_is_one_line(own, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for path in own.glob("train-*"):
        path.unlink()
    words = ["--config", str(RECIPES / "base.yaml"), "--config", str(RECIPES / "overlay/own.yaml")]
    assert main(["fit", *words, f"--data.shards={own}"]) == 2
    assert "holds no train-*.tar" in error_line(capsys)
    assert not list(own.glob("latents-*"))


@pytest.mark.parametrize(
    "stage", ["base/speak.yaml", "base/listen.yaml", "base/identity.yaml", "overlay/references.yaml"]
)
def test_the_overlay_goes_over_every_recipe_of_the_base_model(stage, capsys):
    below = ["base.yaml", stage] if stage.startswith("overlay") else [stage]
    words = [word for file in (*below, "overlay/own.yaml") for word in ("--config", str(RECIPES / file))]
    assert main(["fit", *words, "--print_config"]) == 0
    shown = capsys.readouterr().out
    assert "class_path: lpm.train.ShardData" in shown and "corpus:" not in shown


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is such a device")
def test_a_device_that_is_not_there_is_refused_before_anything_is_written(own, codec):
    with pytest.raises(ValueError, match="device 'cuda' is not to be had here"):
        ShardData(str(own), codec, device="cuda", **SETTINGS).prepare_data()
    assert not list(own.glob("latents-*"))
