import hashlib
import io
import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from lpm.cli import main
from lpm.data import (
    Cut,
    MemoryClips,
    PairLatents,
    ShardWriter,
    all_references,
    continue_performance,
    list_shards,
    read_meta,
    read_shard,
)
from lpm.data.stages import check_media
from lpm.preference import described, score
from lpm.train import PairSettings, make_pairs
from lpm.train.pairs import candidate_of, perform_all

SETTINGS = PairSettings(candidates=3, frames=17, steps=1, chunk=8, history=0.3, lookahead=0.1, batch_size=2)


class Chance:
    """Scores that follow from the video's bytes, in two dimensions."""

    def __init__(self, tolerance: float = 0.05, dies_at: int = 0, taste: str = ""):
        self.tolerances, self.taste = {"left": tolerance, "right": tolerance}, taste
        self.left = dies_at

    def judge(self, candidate):
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt
        digest = hashlib.sha256(candidate.video_THWC.tobytes()).digest()
        return {"left": digest[0] / 255, "right": digest[1] / 255}


class Flat:
    def __init__(self):
        self.tolerances = {"flat": 0.1}

    def judge(self, candidate):
        return {"flat": 0.0}


@pytest.fixture
def lively(model):
    """A model whose candidates differ: a fresh head answers with zeros."""
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.backbone.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return model.eval()


@pytest.fixture
def shards(corpus):
    return list_shards(corpus / "shards", "train-")


def contents(folder):
    """Samples by key, and no key twice."""
    samples = [sample for shard in list_shards(folder) for sample in read_shard(shard.path)]
    keyed = {sample["__key__"]: sample for sample in samples}
    assert len(keyed) == len(samples)
    return keyed


def test_every_condition_is_a_pair_or_counted(lively, shards, tmp_path):
    summary = make_pairs(lively, shards, tmp_path, [Chance()], SETTINGS)
    assert summary == json.loads((tmp_path / "summary.json").read_text())
    assert summary["conditions"] == summary["samples"] == 6
    assert summary["pairs"] + sum(summary["skipped"].values()) == 6
    assert summary["pairs"] == len(contents(tmp_path)) > 0
    judged = [item for path in sorted(tmp_path.glob("*.row.json")) for item in json.loads(path.read_text())["judged"]]
    assert [item["key"] for item in judged] == [f"clip{number:03d}" for number in range(6)]
    assert {item["key"] for item in judged if item["reason"] == "pair"} == set(contents(tmp_path))
    assert len({seed for item in judged for seed in item["seeds"]}) >= 6


def test_a_pair_holds_its_condition_and_what_was_performed(lively, shards, tmp_path):
    make_pairs(lively, shards, tmp_path, [Chance()], SETTINGS)
    before = {sample["__key__"]: sample for shard in shards for sample in read_shard(shard.path)}
    for key, sample in contents(tmp_path).items():
        check_media(sample)
        assert sample["speak.wav"] == before[key]["speak.wav"]
        meta = json.loads(sample["json"])
        assert (meta["frames"], meta["caption"]) == (17, json.loads(before[key]["json"])["caption"])
        won, lost = meta["preference"]["winner"], meta["preference"]["loser"]
        steps = [(won[name] - lost[name]) / 0.05 for name in won]
        assert min(steps) >= -1 and max(steps) > 1
        assert sum(step for step in steps if step > 1) == pytest.approx(meta["preference"]["margin"])


def test_windows_of_winner_and_loser_share_their_first_picture(lively, shards, tmp_path):
    make_pairs(lively, shards, tmp_path, [Chance()], SETTINGS)
    cut = Cut(13, [PairLatents()], references=all_references, beginning=continue_performance, history=0.3)
    rows = MemoryClips(tmp_path, cut, batch_size=2, shuffle=False)
    samples, given = contents(tmp_path), set()
    for step in range(6):
        batch = rows.draw(step)
        assert batch.latents_BTCYX.shape == batch.loser_BTCYX.shape == (2, 4, 32, 4, 4)
        assert torch.equal(batch.latents_BTCYX[:, 0], batch.loser_BTCYX[:, 0])
        assert not torch.equal(batch.latents_BTCYX, batch.loser_BTCYX)
        assert batch.references.latents_BRCYX.shape[1] == 1
        for row, key in enumerate(batch.keys):
            first = batch.meta[row]["start"] // 4
            whole = torch.from_numpy(np.load(io.BytesIO(samples[key]["winner.npy"]))).float()
            assert torch.equal(batch.latents_BTCYX[row, 1:], whole[first + 1 : first + 4])
            assert batch.given_B[row] == (3 if first else 1)
            given.add(int(batch.given_B[row]))
    assert given == {1, 3}


def test_a_killed_run_goes_on_and_ends_the_same(lively, shards, tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    make_pairs(lively, shards, whole, [Chance()], SETTINGS)
    with pytest.raises(KeyboardInterrupt):
        # dies in the second shard, after pairs of it may have been written
        make_pairs(lively, shards, broken, [Chance(dies_at=17)], SETTINGS)
    assert len(list(broken.glob("*.row.json"))) == 1 and not (broken / "summary.json").exists()
    kept = {path.name: path.stat().st_mtime_ns for path in broken.glob("*.tar")}
    make_pairs(lively, shards, broken, [Chance()], SETTINGS)
    for path in whole.glob("*.*"):
        assert (broken / path.name).read_bytes() == path.read_bytes(), path.name
    assert all((broken / name).stat().st_mtime_ns == time for name, time in kept.items())
    assert not [path for path in broken.iterdir() if path.is_dir()]
    contents(broken)


def test_conditions_are_limited_and_short_clips_counted(lively, shards, tmp_path):
    summary = make_pairs(
        lively, shards, tmp_path / "few", [Chance()], PairSettings(**SETTINGS.__dict__ | {"conditions": 5})
    )
    assert summary["conditions"] == 5
    with pytest.raises(ValueError, match=r"no pair from 0 conditions .*'short': 6"):
        make_pairs(lively, shards, tmp_path / "long", [Chance()], PairSettings(**SETTINGS.__dict__ | {"frames": 49}))


def test_no_pair_at_all_is_told_with_reasons(lively, shards, tmp_path):
    with pytest.raises(ValueError, match=r"no pair from 6 conditions \(\{'tie': 6"):
        make_pairs(lively, shards, tmp_path, [Flat()], SETTINGS)


def test_other_pairs_are_not_mixed(lively, shards, tmp_path):
    make_pairs(lively, shards, tmp_path, [Chance()], SETTINGS)
    with pytest.raises(ValueError, match="holds pairs of other scorers"):
        make_pairs(lively, shards, tmp_path, [Chance(0.2)], SETTINGS)
    with torch.no_grad():
        next(lively.backbone.parameters()).add_(1)
    with pytest.raises(ValueError, match="holds pairs of other model"):
        make_pairs(lively, shards, tmp_path, [Chance()], SETTINGS)


def test_every_seed_is_performed_with_every_guidance(lively, shards, tmp_path, monkeypatch):
    """First all seeds with the model's own guidance, then all with another; rows tell the seed of each."""
    monkeypatch.setattr(lively, "guidance", {"speak": 2.0})
    batch = MemoryClips(shards, SETTINGS.cut, batch_size=2, shuffle=False).draw(0)
    both = replace(SETTINGS, guidance=[{}, {"speak": 1.0}])
    latents, videos = perform_all(lively, batch, both, [4, 5])
    own = perform_all(lively, batch, SETTINGS, [4, 5])[0]
    monkeypatch.setattr(lively, "guidance", {})
    none = perform_all(lively, batch, SETTINGS, [4, 5])[0]
    assert len(latents) == len(videos) == 4 and not torch.equal(own[0], none[0])
    assert all(torch.equal(made, wanted) for made, wanted in zip(latents, own + none, strict=True))
    make_pairs(lively, shards, tmp_path, [Chance()], both)
    row = json.loads(sorted(tmp_path.glob("*.row.json"))[0].read_text())["judged"][0]
    assert len(row["scores"]) == 6 and row["seeds"][:3] == row["seeds"][3:]
    assert json.loads((tmp_path / "pairs.json").read_text())["settings"]["guidance"] == both.guidance
    with pytest.raises(ValueError, match="no guidance to perform with"):
        replace(SETTINGS, guidance=[])


def test_scorers_see_the_conditions(lively, shards):
    cut = SETTINGS.cut
    batch = MemoryClips(shards, cut, batch_size=2, shuffle=False).draw(0)
    candidate = candidate_of(batch, 1, np.zeros((17, 32, 32, 3), np.uint8))
    assert candidate.reference_HWC.shape == (32, 32, 3) and candidate.text == "clip 1"
    assert candidate.truth["yaw"].shape == candidate.state_T.shape == (17,)
    assert score([Flat()], candidate) == {"flat": 0.0}


def test_a_scorer_counts_with_its_settings():
    assert described(Chance(taste="dark")) != described(Chance(taste="bright"))
    assert described(Chance(0.05)) != described(Chance(0.1))
    assert described(Chance(dies_at=3)) == described(Chance())  # what is no argument under its name is no setting


def test_clips_of_several_rates_and_sizes_are_performed(lively, sample_of, tmp_path):
    samples = [sample_of(number) for number in range(4)]
    for sample in samples[1:3]:
        sample["json"]["fps"] = 25.0
    with ShardWriter(tmp_path / "shards", "train") as writer:
        for sample in samples:
            writer.write(sample)
    summary = make_pairs(lively, list_shards(tmp_path / "shards"), tmp_path / "pairs", [Chance()], SETTINGS)
    assert (summary["conditions"], summary["dropped"]) == (4, {})
    assert {key: read_meta(sample)["fps"] for key, sample in contents(tmp_path / "pairs").items()}.items() <= {
        ("clip000", 24.0), ("clip001", 25.0), ("clip002", 25.0), ("clip003", 24.0)
    }  # fmt: skip


def test_a_clip_without_a_global_reference_is_performed_with_what_it_has(lively, sample_of, tmp_path):
    sample = sample_of(0)
    sample["json"]["references"] = [{"file": "ref.00.png", "kind": "body", "sub_kind": "left"}]
    with ShardWriter(tmp_path / "shards", "train") as writer:
        writer.write(sample)
    make_pairs(lively, list_shards(tmp_path / "shards"), tmp_path / "pairs", [Chance()], SETTINGS)
    (made,) = contents(tmp_path / "pairs").values()
    assert read_meta(made)["references"] == sample["json"]["references"]


def test_the_command_writes_pairs_and_refuses_bad_input(lively, corpus, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("lpm.train.pair_command.base_puppet", lambda: lively)
    output = tmp_path / "pairs"
    words = ["data", "pairs", str(corpus), str(output), "--frames=9", "--steps=1", "--chunk=8", "--candidates=2"]
    own = [
        "--scorers",
        '[{"class_path": "lpm.preference.PuppetScorer", "init_args": {"tolerances": {"colour": 1.0e-6}}}]',
    ]
    assert main([*words, *own]) == 0
    assert "pairs" in capsys.readouterr().out
    assert main(["data", "check", str(output)]) == 0
    capsys.readouterr()
    for bad in (["--candidates=1"], ["--split=nobody"], ["--seed=1"], ["--device=nowhere"]):
        assert main([*words, *own, *bad]) == 2
        assert capsys.readouterr().err.strip().count("\n") == 0
    words[3] = str(tmp_path / "untouched")
    for bad in (["--frames=10"], ["--chunk=7"]):
        assert main([*words, *own, *bad]) == 2
        assert bad[0].split("=")[1] in capsys.readouterr().err
        assert not (tmp_path / "untouched").exists()
