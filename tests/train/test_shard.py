"""Two processes that share a model train as one does; killed, they go on as if nothing had happened."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import EMAWeightAveraging

from lpm.cli import main
from lpm.data import MemoryClips
from lpm.sample import load_performance
from lpm.sample.pretrained import read_weights
from lpm.sample.sharded import read_sharded
from lpm.train import DistributionTraining, OdeTraining, PerformanceReport, Sharded, StudentAverage
from lpm.train.checkpoint import read_checkpoint
from lpm.train.data import make_even
from lpm.train.shard import refuse_callbacks
from processes import run_processes
from shard_work import LOSS, commands, die, saved, tiny_overlay, train, train_in_turn, training

RECIPES = Path(__file__).parents[2] / "recipes"

RUNS = [{"context": 1}, {"context": 2}, {"context": 2, "deferred": True, "average": False}]
RUNS += [{"context": context, "recompute": True} for context in (1, 2)]
RUNS += [{"context": 2, "chance": True}]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return train(tmp_path_factory.mktemp("whole"))


@pytest.fixture(scope="module")
def sharded(tmp_path_factory):
    """Folder of the checkpoints, and what the first process holds at the end of each run."""
    folder = tmp_path_factory.mktemp("sharded")
    return folder, run_processes(train_in_turn, 2, folder, str(folder), RUNS)[0]


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=1e-9, atol=1e-9, msg=lambda m, name=name: f"{name}: {m}")


@pytest.mark.parametrize("number", [0, 1, 3, 4], ids=lambda number: str(RUNS[number]))
def test_sharded_steps_equal_whole_steps(whole, sharded, number):
    start = training(False).state_dict()
    assert max((whole[name] - tensor).abs().max() for name, tensor in start.items()) > 1e-4
    assert_same(sharded[1][number], whole)


def test_processes_that_share_a_clip_draw_the_same_noise_and_dropout(sharded, tmp_path):
    assert_same(sharded[1][5], train(tmp_path, chance=True))


def test_neighbours_of_a_context_group_read_the_same_batches():
    strategy, ranks = Sharded(context=2), []
    for rank in range(4):
        strategy.cluster_environment = SimpleNamespace(global_rank=lambda rank=rank: rank, world_size=lambda: 4)
        ranks.append(strategy.replica)
    assert ranks == [(0, 2), (0, 2), (1, 2), (1, 2)]


def test_a_checkpoint_of_shards_reads_as_one(sharded):
    folder, (found, *_) = sharded
    weights = {name: tensor for name, tensor in found.items() if not name.startswith(("average.", LOSS))}
    averaged = {name: found.get(f"average.{name}", tensor) for name, tensor in weights.items()}
    assert_same(read_sharded(folder / "0" / "step=4.ckpt"), averaged)
    assert read_checkpoint(folder / "0" / "step=4.ckpt")["global_step"] == 4


def test_resumed_equals_uninterrupted(sharded, tmp_path):
    folder, results = sharded
    runs = [{**RUNS[number], "resume": str(folder / str(number) / "step=2.ckpt")} for number in (0, 2)]
    first, second = run_processes(train_in_turn, 2, tmp_path, str(tmp_path), runs)[0]
    middle = read_sharded(folder / "0" / "step=2.ckpt")  # the resumed run has gone on from there
    assert any(not torch.equal(first[name].to(tensor), tensor) for name, tensor in middle.items())
    assert_same(first, results[0])
    assert_same(second, results[2])


def test_a_sharded_recipe_is_fitted_resumed_and_exported(corpus, tmp_path):
    shutil.copytree(corpus / "shards", tmp_path / "corpus/shards")
    late = "{class_path: lpm.backbone.DeferredDiT, init_args: {network: lpm.backbone.puppet_small, recompute: 1}}"
    (tmp_path / "cut.ckpt").mkdir()
    (tmp_path / "cut.ckpt/__0_0.distcp").touch()
    runs, starts = [], {"whole": None, "resumed": "whole/step=2.ckpt", "refused": "cut.ckpt"}
    for name, start in starts.items():
        more = [f"--ckpt_path={tmp_path / start}"] if start else []
        callbacks = [{"class_path": "lpm.train.SeedSteps"}, {"class_path": "lpm.train.ShardedAverage"}]
        callbacks.append(saved(tmp_path / name))
        overlay = tiny_overlay(tmp_path / f"{name}.yaml", 4, callbacks, tmp_path / "corpus", late)
        configs = [str(RECIPES / "base.yaml"), str(RECIPES / "overlay/fsdp.yaml"), overlay]
        words = ["fit", *(word for config in configs for word in ("--config", config)), "--trainer.devices=2"]
        runs.append([*words, f"--trainer.default_root_dir={tmp_path / name}", *more])
    assert run_processes(commands, 2, tmp_path, runs) == [[0, 0, 2], [0, 0, 2]]
    for name in ("whole", "resumed"):
        assert main(["weights", "export", str(tmp_path / name / "step=4.ckpt"), str(tmp_path / "out" / name)]) == 0
    first, second = (load_performance(tmp_path / "out" / name).state_dict() for name in ("whole", "resumed"))
    assert [name for name, tensor in first.items() if not torch.equal(tensor, second[name])] == []
    before = read_sharded(tmp_path / "whole/step=2.ckpt")
    assert not torch.equal(first["backbone.time.out.weight"], before["model.backbone.time.out.weight"])


@pytest.mark.slow
def test_killed_and_resumed_equals_uninterrupted(sharded, tmp_path):
    with pytest.raises(Exception, match="SIGKILL"):
        run_processes(die, 2, tmp_path, str(tmp_path), 1)
    (tmp_path / "meeting").unlink(missing_ok=True)
    run = {**RUNS[0], "resume": str(tmp_path / "step=2.ckpt")}
    assert_same(run_processes(train_in_turn, 2, tmp_path, str(tmp_path), [run])[0][0], sharded[1][0])


@pytest.mark.parametrize("other", [".metadata", "meta.pt"])
@pytest.mark.parametrize("read", [read_checkpoint, read_weights, Sharded().load_checkpoint], ids=lambda f: f.__name__)
def test_a_checkpoint_that_was_cut_off_is_refused(sharded, tmp_path, other, read):
    part = tmp_path / "part.ckpt"
    part.mkdir()
    for name in ("__0_0.distcp", other):
        shutil.copy(sharded[0] / "0" / "step=4.ckpt" / name, part)
    with pytest.raises(ValueError, match="cut off while it was written"):
        read(part)


def test_a_checkpoint_cut_off_in_its_last_file_is_refused(sharded, tmp_path):
    part = shutil.copytree(sharded[0] / "0" / "step=4.ckpt", tmp_path / "part.ckpt")
    (part / "meta.pt").write_bytes((part / "meta.pt").read_bytes()[:-9])
    with pytest.raises(ValueError, match="cut off while it was written"):
        read_checkpoint(part)


def test_a_missing_checkpoint_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"none.ckpt is missing; give a .ckpt written by"):
        Sharded().load_checkpoint(tmp_path / "none.ckpt")


@pytest.mark.parametrize("kind", [DistributionTraining, OdeTraining])
def test_trainings_that_keep_whole_networks_are_refused(kind):
    strategy = Sharded()
    strategy.parallel_devices, strategy._lightning_module = [torch.device("cpu")], kind.__new__(kind)
    with pytest.raises(ValueError, match=f"{kind.__name__} does not train on shards; use lpm.train.BaseTraining"):
        strategy.setup_environment()


@pytest.mark.parametrize(
    "callback, word",
    [
        (EMAWeightAveraging(), "ShardedAverage"),
        (StudentAverage(), "ShardedAverage"),
        (PerformanceReport(), "lpm weights export"),
    ],
)
def test_callbacks_that_need_the_whole_model_are_refused(callback, word):
    with pytest.raises(ValueError, match=word):
        refuse_callbacks(Trainer(accelerator="cpu", logger=False, callbacks=[callback]))


@pytest.mark.parametrize("count, batches", [(5, [[0, 1], [2, 3]]), (3, [[0, 1], [2]])])
def test_all_replicas_validate_on_equally_many_batches(count, batches, monkeypatch):
    replicas = []
    for rank in range(2):
        clips = SimpleNamespace(samples=list(range(count)), batch_size=2, rank=rank, world=2, repeat=False)
        make_even(clips)
        clips._clip = clips.samples.__getitem__
        monkeypatch.setattr("lpm.data.memory.collate", list)
        replicas.append([MemoryClips.draw(clips, step) for step in range(MemoryClips.__len__(clips))])
    assert len(replicas[0]) == len(replicas[1])
    assert replicas == ([[batches[0]], [batches[1]]] if count == 5 else [batches, batches])


def test_context_must_divide_the_processes():
    strategy = Sharded(context=3)
    strategy.parallel_devices = [torch.device("cpu")] * 2
    with pytest.raises(ValueError, match="context of 3 does not divide 2 processes"):
        strategy.setup_environment()
