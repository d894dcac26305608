"""The plan's memory is what Lightning's training step takes, within 5 %."""

import gc
import json
import re
from functools import partial
from pathlib import Path

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from torch.profiler import ProfilerActivity, profile
from torch.utils.data import DataLoader

from lpm.backbone import DeferredDiT, puppet, recomputed, wan
from lpm.backbone.cost import ClipShape
from lpm.cli import main
from lpm.train.plan import Job, advise, job_of, network_of, predict
from lpm.train.rehearse import fake_inputs

network = partial(wan, width=96, depth=6, heads=4, hidden=384, channels=8, text_width=64, waves=32, audio_width=32)
puppets = partial(puppet, channels=8, width=96, depth=6, heads=4, audio_width=32, text_width=64, listen_rate=50.0)
RECIPES = Path(__file__).parents[2] / "recipes"
SMALL = ClipShape(1, 5, 16, 16, text=32, audio=60)
LARGE = ClipShape(2, 7, 24, 24, text=32, audio=60)


def job(clip, network=network, **settings):
    one = {"gpus": 1, "memory": 80e9, "half": False, "sharded": False, "context": 1, "recompute": 0}
    return Job(network, clip, **{**one, **settings})


class Regression(LightningModule):
    """A step of training, but for its noise."""

    def __init__(self, network, clip):
        super().__init__()
        self.network, self.clip = network, clip

    def training_step(self, batch, batch_idx):
        with self.device:
            noisy, t, conditions = fake_inputs(self.network, self.clip)
        return (self.network(noisy, t, conditions, self.clip.fps).float() - noisy).square().mean()

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters())


def recipe(trainer=None, **model):
    """What the plan reads of a resolved recipe, of a puppet."""
    model = {"backbone": "lpm.backbone.puppet", "codec": {}, "text": {}, "speak": {}, "listen": {}, **model}
    data = {"frames": 33, "history": 2.6, "lookahead": 0.2, "batch_size": 1}
    model = {"class_path": "lpm.train.BaseTraining", "init_args": {"model": {"init_args": model}}}
    return {"trainer": trainer or {}, "model": model, "data": {"init_args": data}}


def sharded(context):
    return {"strategy": {"class_path": "lpm.train.Sharded", "init_args": {"context": context}}}


def train(model, clip, half, accelerator="cpu", accumulate=1):
    """Two steps: the second meets AdamW's moments and the gradients of the first."""
    Trainer(
        accelerator=accelerator, max_steps=2, accumulate_grad_batches=accumulate,
        precision="bf16-mixed" if half else "32-true", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False,
    ).fit(Regression(model, clip), DataLoader(range(2 * accumulate)))  # fmt: skip


def measured_on_cpu(network, clip, half, recompute, accumulate=1):
    """Peak of what PyTorch's allocator gave out, from the first weight to the last step."""
    gc.collect()  # trainings before this one would be freed while it is measured
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        model = network()
        train(recomputed(model) if recompute else model, clip, half, accumulate=accumulate)
    events = [event for event in record.profiler.kineto_results.events() if event.name() == "[memory]"]
    now = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        now += event.nbytes()
        peak = max(peak, now)
    return peak


@pytest.mark.parametrize(
    "network, clip", [(network, SMALL), (network, LARGE), (puppets, LARGE)], ids=["small", "large", "puppets"]
)
@pytest.mark.parametrize("half, recompute", [(False, 0), (True, 0), (False, 1)], ids=["float", "half", "recompute"])
def test_predicted_memory_is_measured_memory(network, clip, half, recompute):
    predicted = predict(job(clip, network, half=half, recompute=recompute)).total
    assert predicted == pytest.approx(measured_on_cpu(network, clip, half, recompute), rel=0.05)


def test_gradients_that_are_summed_stay():
    plain, summed = (predict(job(SMALL, recompute=1, accumulate=several)) for several in (False, True))
    assert summed.total > plain.total
    assert summed.total == pytest.approx(measured_on_cpu(network, SMALL, False, 1, accumulate=2), rel=0.05)


@pytest.mark.gpu
@pytest.mark.parametrize("clip", [SMALL, LARGE], ids=["small", "large"])
def test_predicted_memory_is_measured_memory_on_a_gpu(clip):
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    train(network(), clip, half=True, accelerator="cuda")
    measured = torch.cuda.max_memory_allocated() - before
    assert predict(job(clip, half=True)).total == pytest.approx(measured, rel=0.1)


def test_each_saving_saves():
    plain = predict(job(LARGE, half=True))
    recomputing = predict(job(LARGE, half=True, recompute=1))
    sharded = predict(job(LARGE, half=True, gpus=4, sharded=True))
    context = predict(job(LARGE, half=True, gpus=4, sharded=True, context=4))
    assert recomputing.working < 0.5 * plain.working and recomputing.flops > plain.flops
    assert sharded.weights == plain.weights / 4 and sharded.total < plain.total
    assert context.working < 0.5 * sharded.working and context.flops < 0.5 * sharded.flops


def test_buckets_of_whole_networks_and_the_average_of_shards_are_counted():
    one, four = predict(job(SMALL)), predict(job(SMALL, gpus=4))
    assert four.total - one.total == 4 * one.parameters
    plain, averaged = (predict(job(SMALL, gpus=4, sharded=True, average=average)) for average in (False, True))
    assert averaged.total - plain.total == one.parameters


def test_summed_gradients_and_the_average_are_read_from_the_recipe():
    plain = job_of(recipe({"accumulate_grad_batches": 1, "callbacks": [{"class_path": "lpm.train.Average"}]}), 1, 80e9)
    assert not plain.accumulate and not plain.average
    more = job_of(
        recipe({"accumulate_grad_batches": 2, "callbacks": [{"class_path": "lpm.train.ShardedAverage"}]}), 1, 80e9
    )
    assert more.accumulate and more.average


@pytest.mark.parametrize(
    "data, most",
    [
        ({"extra_references": 0.0, "references": None}, 1),
        ({"extra_references": 0.03, "references": None}, 13),
        ({"extra_references": 0.0, "references": "lpm.data.draw_kinds"}, 13),
        ({"extra_references": 0.03, "references": "lpm.train.data.only_global"}, 1),
        ({}, 13),
    ],
    ids=str,
)
def test_a_clip_has_the_most_references_that_its_data_may_draw(data, most):
    settings = recipe()
    settings["data"]["init_args"] |= data
    assert job_of(settings, 1, 80e9).clip.references == most


@pytest.mark.parametrize("context", [0, 4])
def test_a_context_that_does_not_divide_the_gpus_is_refused(context):
    with pytest.raises(ValueError, match=f"context of {context} does not divide 6 processes"):
        job_of(recipe(sharded(context)), 6, 80e9)


def test_a_video_below_one_patch_is_refused():
    with pytest.raises(ValueError, match="below one patch of 16x16 pixels"):
        predict(job_of(recipe(), 1, 80e9, (4, 4)))


def test_an_adapter_is_refused():
    with pytest.raises(ValueError, match="leave the adapter"):
        job_of(recipe(adapter={"class_path": "lpm.sample.LoRA"}), 1, 80e9)


def test_a_recipe_that_does_not_parse_is_one_line(tmp_path, capsys):
    (tmp_path / "typo.yaml").write_text("trainer: {max_stepz: 3}")
    assert main(["doctor", "--plan", str(RECIPES / "base.yaml"), str(tmp_path / "typo.yaml")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "max_stepz" in line


def test_advice_names_the_mildest_change():
    assert advise(job(LARGE, memory=4e9 + 60e6)).startswith("recompute: 1:")
    assert "fewer frames" in advise(job(LARGE, memory=1e9))
    shared = advise(job(LARGE, memory=4e9 + 35e6, gpus=4, recompute=1))
    assert re.match(r"trainer.strategy lpm.train.Sharded with context: [24]:", shared)


def test_networks_are_found_behind_every_kind_of_spec(tmp_path):
    shape = {"width": 24, "depth": 2, "heads": 2, "hidden": 32}
    plain = {"class_path": "lpm.backbone.wan", "init_args": shape}
    (tmp_path / "config.json").write_text(json.dumps(plain))
    folder = {"class_path": "lpm.backbone.pretrained_dit", "init_args": {"folder": str(tmp_path)}}
    again = {"class_path": "lpm.backbone.recomputed", "init_args": {"network": folder, "every": 2}}
    late = {"class_path": "lpm.backbone.DeferredDiT", "init_args": {"network": "lpm.backbone.puppet", "recompute": 3}}
    for spec, width, every in ((plain, 24, 0), (folder, 24, 0), (again, 24, 2), (late, 128, 3)):
        builder, recompute = network_of(spec)
        assert (builder().embed.width, recompute) == (width, every)
    assert isinstance(DeferredDiT(builder).on_meta().head, torch.nn.Module)
    with pytest.raises(ValueError, match="is missing; run"):
        network_of({"class_path": "lpm.backbone.pretrained_dit", "init_args": {"folder": "nowhere"}})


@pytest.mark.parametrize(
    "name, training",
    [("online/ode", "OdeTraining"), ("online/on_policy", "DistributionTraining"), ("dpo", "PreferenceTraining")],
)
def test_stages_that_train_otherwise_are_refused_in_one_line(name, training, capsys):
    assert main(["doctor", "--plan", str(RECIPES / f"{name}.yaml"), "--gpus", "8x80"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"lpm.train.{training}: the plan is for recipes of the Base model" in line
    assert line.endswith("what distillation costs stands in docs/guide/distil.md")


def test_a_recipe_of_something_else_is_refused():
    with pytest.raises(ValueError, match="recipes of the Base model"):
        job_of({"model": {"class_path": "lpm.train.CodecTraining", "init_args": {}}, "trainer": {}}, 1, 1e9)


def test_the_parameters_of_a_small_network_are_told_in_millions(capsys):
    assert main(["doctor", "--plan", str(RECIPES / "base.yaml"), "--gpus", "1x80"]) == 0
    count, unit, *_ = capsys.readouterr().out.split()
    assert 1 < float(count) < 10 and unit == "M"


def test_the_command_plans_17_billion_without_weights(capsys):
    words = [str(RECIPES / f"{name}.yaml") for name in ("base", "overlay/17b", "overlay/fsdp")]
    words = ["doctor", "--plan", *words, "--gpus", "8x80", "--size", "480x832", "--json"]
    assert main(words) == 1
    plan = json.loads(capsys.readouterr().out)
    assert plan["parameters"] == pytest.approx(17.5e9, rel=0.01)
    assert plan["weights"] + plan["optimiser"] == pytest.approx(12 * plan["parameters"] / 8)
    assert plan["average"] == pytest.approx(4 * plan["parameters"] / 8)
    assert plan["total"] == pytest.approx(80e9, rel=0.02) and not plan["fits"] and len(plan["unknown"]) == 4
    assert re.match(r"does not fit; trainer.strategy lpm.train.Sharded with context: 2: 6\d", plan["verdict"])


def test_a_wrong_machine_is_one_line(capsys):
    assert main(["doctor", "--plan", str(RECIPES / "base.yaml"), "--gpus", "eight"]) == 2
    assert "write it as 8x80" in capsys.readouterr().err
