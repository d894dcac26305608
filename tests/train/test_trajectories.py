import io
import json
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from lpm.cli import main
from lpm.data import MemoryClips, ShardWriter, TrajectoryLatents, list_shards, read_shard
from lpm.data.stages import Counts, check_media, valid
from lpm.sample import noise_levels
from lpm.train import PairData, TrajectoryData, TrajectorySettings, make_trajectories, trajectories
from lpm.train.encode import npy

SETTINGS = TrajectorySettings(
    frames=17, piece=8, substeps=1, keep=1, history=0.3, lookahead=0.1, batch_size=2, scales={"speak": 1.5}
)


@pytest.fixture
def teacher(model):
    """A model whose performances differ: a fresh head answers with zeros."""
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.backbone.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return model.eval()


@pytest.fixture
def shards(corpus):
    return list_shards(corpus / "shards", "train-")


def test_a_trajectory_holds_its_condition_and_ends_in_what_was_performed(teacher, shards, tmp_path):
    summary = make_trajectories(teacher, shards, tmp_path, SETTINGS)
    assert summary == {"samples": 6, "trajectories": 6, "dropped": {}}
    before = {sample["__key__"]: sample for shard in shards for sample in read_shard(shard.path)}
    samples = [sample for shard in list_shards(tmp_path) for sample in read_shard(shard.path)]
    assert [sample["__key__"] for sample in samples] == sorted(before)
    for sample in samples:
        check_media(sample)
        assert sample["speak.wav"] == before[sample["__key__"]]["speak.wav"]
        meta, points = json.loads(sample["json"]), np.load(io.BytesIO(sample["trajectory.npy"]))
        assert points.shape == (4, 5, 32, 4, 4)
        assert all(np.array_equal(point[0], points[0, 0]) for point in points)
        assert meta["frames"] == 17 and meta["trajectory"] == {"levels": noise_levels(3, teacher.shift), "piece": 8}
    batch = MemoryClips(shards, SETTINGS.cut, batch_size=2, shuffle=False).draw(0)
    picture = teacher.codec.encode_frames(batch.video_BTCHW[:, 0])
    assert npy(picture[0]) == npy(torch.from_numpy(np.load(io.BytesIO(samples[0]["trajectory.npy"]))[0, 0]))


def test_of_a_video_the_first_frame_alone_is_kept(teacher, shards, tmp_path, monkeypatch):
    own, seen = trajectories.record_trajectories, []

    def spy(model, batch, *args):
        seen.append(batch.video_BTCHW.shape[1])
        return own(model, batch, *args)

    monkeypatch.setattr(trajectories, "record_trajectories", spy)
    make_trajectories(teacher, shards, tmp_path, SETTINGS)
    assert seen == [1, 1, 1]
    (sample, *_) = valid(read_shard(shards[0].path), Counts())
    assert trajectories.cut_condition(sample, SETTINGS).video_THWC.base is None  # no view of the whole video


def test_batches_hold_the_points(teacher, shards, tmp_path):
    make_trajectories(teacher, shards, tmp_path, SETTINGS)
    cut = SETTINGS.cut.__class__(17, [TrajectoryLatents()], history=0.3)
    batch = MemoryClips(tmp_path, cut, batch_size=3).draw(0)
    assert batch.points_BSTCYX.shape == (3, 4, 5, 32, 4, 4)
    assert torch.equal(batch.points_BSTCYX[:, -1], batch.latents_BTCYX)
    assert batch.references.latents_BRCYX.shape[:2] == (3, 1)


def test_a_killed_run_goes_on_and_ends_in_the_same_bytes(teacher, shards, tmp_path, monkeypatch):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    make_trajectories(teacher, shards, whole, SETTINGS)
    own, calls = trajectories.perform_points, []

    def dies_in_the_second_shard(*args):
        calls.append(args)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return own(*args)

    monkeypatch.setattr(trajectories, "perform_points", dies_in_the_second_shard)
    with pytest.raises(KeyboardInterrupt):
        make_trajectories(teacher, shards, broken, SETTINGS)
    kept = {path.name: path.stat().st_mtime_ns for path in broken.glob("*.tar")}
    assert len(kept) == 1 and not (broken / "summary.json").exists()
    monkeypatch.setattr(trajectories, "perform_points", own)
    make_trajectories(teacher, shards, broken, SETTINGS)
    assert {path.name for path in whole.glob("*.*")} == {path.name for path in broken.glob("*.*")}
    for path in whole.glob("*.*"):
        assert (broken / path.name).read_bytes() == path.read_bytes(), path.name
    assert all((broken / name).stat().st_mtime_ns == time for name, time in kept.items())


def test_the_command_goes_on_after_kill_9_in_its_second_shard(corpus, tmp_path):
    """With the weights that ship; every clip is a batch of its own, so that the shard is half written for a while."""
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    words = ["--frames=9", "--piece=8", "--batch_size=1"]
    run = subprocess.Popen([sys.executable, "-m", "lpm", "data", "trajectories", str(corpus), str(killed), *words])
    while run.poll() is None and not any(killed.glob(".train-000001/*.part")):
        time.sleep(0.005)
    run.kill()
    assert run.wait() == -signal.SIGKILL
    kept = {path.name: path.stat().st_mtime_ns for path in killed.glob("*.tar")}
    assert list(kept) == ["train-000000.tar"] and any(killed.glob(".train-000001/*.part"))
    for folder in (killed, whole):
        assert main(["data", "trajectories", str(corpus), str(folder), *words]) == 0
    assert {path.name for path in killed.iterdir()} == {path.name for path in whole.iterdir()}
    for path in whole.iterdir():
        assert (killed / path.name).read_bytes() == path.read_bytes(), path.name
    assert all((killed / name).stat().st_mtime_ns == made for name, made in kept.items())


def test_two_commands_on_one_folder_end_in_the_bytes_of_one(corpus, tmp_path):
    whole, both, words = tmp_path / "whole", tmp_path / "both", ["--frames=9", "--piece=8", "--batch_size=1"]
    run = [sys.executable, "-m", "lpm", "data", "trajectories", str(corpus), str(both), *words]
    runs = [subprocess.Popen(run) for _ in range(2)]
    assert main(["data", "trajectories", str(corpus), str(whole), *words]) == 0
    assert [run.wait(200) for run in runs] == [0, 0]
    assert {path.name for path in both.iterdir()} == {path.name for path in whole.iterdir()}
    for path in whole.iterdir():
        assert (both / path.name).read_bytes() == path.read_bytes(), path.name


def test_other_trajectories_are_not_mixed_and_settings_are_checked(teacher, shards, tmp_path):
    few = TrajectorySettings(**{**SETTINGS.__dict__, "clips": 1})
    assert make_trajectories(teacher, shards, tmp_path / "few", few)["trajectories"] == 1
    teacher.shift += 1
    with pytest.raises(ValueError, match="holds trajectories of other model"):
        make_trajectories(teacher, shards, tmp_path / "few", few)
    with pytest.raises(ValueError, match=r"19 frames are not 1 \+ 8 n; choose 17"):
        TrajectorySettings(frames=19, piece=8)
    with pytest.raises(ValueError, match="substeps of 0 is below 1"):
        TrajectorySettings(substeps=0)
    with pytest.raises(ValueError, match=r"no trajectory from 6 clips \(dropped \{'short': 6\}\)"):
        make_trajectories(teacher, shards, tmp_path / "long", TrajectorySettings(frames=49, batch_size=2))


def test_the_command_writes_trajectories_and_refuses_bad_input(teacher, corpus, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("lpm.train.trajectory_command.base_puppet", lambda: teacher)
    output = tmp_path / "made"
    words = ["data", "trajectories", str(corpus), str(output), "--frames=9", "--piece=8", "--substeps=1", "--clips=2"]
    assert main([*words, "--scales", '{"speak": 1.5}']) == 0
    assert f"2 trajectories in {output}" in capsys.readouterr().out
    assert main(["data", "check", str(output)]) == 0
    capsys.readouterr()
    scales = ["--scales", '{"smell": 2}', "--seed=2"]
    for bad in (["--piece=6"], ["--split=nobody"], ["--seed=1"], scales, ["--device=nowhere"], ["--device=cuda:99"]):
        assert main([*words, *bad]) == 2
        assert capsys.readouterr().err.strip().count("\n") == 0


def test_weights_written_anew_get_a_folder_of_their_own(tmp_path):
    weights = tmp_path / "last.ckpt"
    weights.write_bytes(b"one")
    before = TrajectoryData(teacher=str(weights)).folder
    assert TrajectoryData(teacher=str(weights)).folder == before != TrajectoryData().folder
    weights.write_bytes(b"two")
    assert TrajectoryData(teacher=str(weights)).folder != before
    assert PairData(weights=str(weights)).folder != PairData().folder


def test_trajectories_of_own_clips_are_read_without_a_corpus(teacher, shards, tmp_path, monkeypatch):
    monkeypatch.setattr("lpm.train.trajectory_data.build_corpus", lambda *_: pytest.fail("a corpus is drawn"))
    monkeypatch.setattr("lpm.train.trajectory_data.base_puppet", lambda: teacher)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))  # no corpus there
    make_trajectories(teacher, shards, tmp_path / "made", SETTINGS)

    def data(**changes):
        return TrajectoryData(settings=replace(SETTINGS, **changes), folder=str(tmp_path / "made"), batch_size=3)

    own = data()
    own.prepare_data()
    batch = next(iter(own.train_dataloader()))
    assert batch.points_BSTCYX.shape == (3, 4, 5, 32, 4, 4) and all(key.startswith("clip") for key in batch.keys)
    with pytest.raises(ValueError, match=r"made holds trajectories made with batch_size 2, seed 0; set the same in"):
        data(batch_size=3, seed=1).prepare_data()
    teacher.shift += 1
    with pytest.raises(ValueError, match="made holds trajectories of another teacher; give that one"):
        data().prepare_data()
    (tmp_path / "made/summary.json").unlink()
    with pytest.raises(ValueError, match="made does not hold all trajectories yet; run `lpm data trajectories` again"):
        data().prepare_data()


@pytest.mark.parametrize("kind", [PairData, TrajectoryData])
def test_a_device_that_is_not_there_is_refused_before_the_corpus_is_drawn(kind, teacher, tmp_path, monkeypatch):
    module = f"lpm.train.{'pair' if kind is PairData else 'trajectory'}_data"
    monkeypatch.setattr(f"{module}.build_corpus", lambda *_: pytest.fail("a corpus is drawn"))
    monkeypatch.setattr(f"{module}.base_puppet", lambda: teacher)
    for device in ("nowhere", "cuda:99"):
        with pytest.raises(ValueError, match=rf"^device '{device}' is not to be had here; choose cpu, or cuda.*GPU$"):
            kind(corpus_folder=str(tmp_path), device=device).prepare_data()


def test_a_share_of_clips_sees_more_references_and_keeps_what_it_saw(teacher, shards, tmp_path):
    more = [("body", "left"), ("expression", "happy")]
    before = {}
    with ShardWriter(tmp_path / "rich", "train", samples_per_shard=6) as writer:
        for sample in (sample for shard in shards for sample in read_shard(shard.path)):
            meta = json.loads(sample["json"])
            for number, (kind, sub_kind) in enumerate(more, start=1):
                sample[f"ref.{number:02}.png"] = sample["ref.00.png"]
                meta["references"].append({"file": f"ref.{number:02}.png", "kind": kind, "sub_kind": sub_kind})
            before[sample["__key__"]] = {**sample, "json": meta}
            writer.write({name: value for name, value in before[sample["__key__"]].items() if name != "__url__"})
    settings = TrajectorySettings(**{**SETTINGS.__dict__, "extra_references": 0.7})
    make_trajectories(teacher, list_shards(tmp_path / "rich"), tmp_path / "made", settings)
    counts = []
    for sample in (sample for shard in list_shards(tmp_path / "made") for sample in read_shard(shard.path)):
        rows = settings.references(before[sample["__key__"]])
        listed = before[sample["__key__"]]["json"]["references"]
        assert json.loads(sample["json"])["references"] == [listed[row] for row in rows]
        assert len(np.load(io.BytesIO(sample["ref.npy"]))) == len(rows)
        counts.append(len(rows))
    assert len(counts) == 6 and len(set(counts)) > 1
    with pytest.raises(ValueError, match="no share"):
        TrajectorySettings(extra_references=1.5)
