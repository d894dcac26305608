"""The four stages as trainings, on a teacher of random weights and its trajectories."""

import copy
from dataclasses import replace

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.plugins.precision import MixedPrecision

from lpm.backbone import CausalDiT, recomputed
from lpm.data import list_shards
from lpm.data.puppets.plan import CorpusSpec
from lpm.distill import DMD, CodecDistance, Judged, OdeRegression, OffPolicy, OnPolicy, Refine
from lpm.objective import FlowMatching
from lpm.sample import FewSteps, PerformanceModel
from lpm.train import (
    DistributionTraining,
    OdeTraining,
    Pace,
    StudentAverage,
    TrajectoryData,
    TrajectorySettings,
    make_trajectories,
    student,
    trajectory_data,
)
from processes import run_processes
from student_work import distil, distil_in_processes
from student_work import training as one_row_each

STEPS, REFINE = FewSteps((1.0, 0.8), history=0.2), FewSteps((0.5,), history=0.0)
SETTINGS = TrajectorySettings(frames=17, piece=8, substeps=1, history=0.3, lookahead=0.1, batch_size=6)
STAGES = ("off_policy", "on_policy", "refiner")


@pytest.fixture
def teacher(model, monkeypatch):
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.backbone.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    model.requires_grad_(False).eval()
    monkeypatch.setattr(student, "base_puppet", lambda: copy.deepcopy(model))
    return model


@pytest.fixture
def piece():
    """Frames of a trajectory that are made together: 8 are a causal one, 16 the whole clip."""
    return SETTINGS.piece


@pytest.fixture
def data(corpus, teacher, tmp_path, monkeypatch, piece):
    """Data modules whose corpus is drawn, and whose trajectories are made once."""
    settings = replace(SETTINGS, piece=piece)
    monkeypatch.setattr(trajectory_data, "build_corpus", lambda folder, spec, workers: folder)
    monkeypatch.setattr(trajectory_data, "base_puppet", lambda: teacher)
    make_trajectories(teacher, list_shards(corpus / "shards", "train-"), tmp_path / "made", settings)
    return lambda: TrajectoryData(
        CorpusSpec(), None, settings, str(corpus), str(tmp_path / "made"), batch_size=2, seed=5
    )


def fresh(teacher, recompute=False):
    """A causal student around random weights: those of the teacher come with the start."""
    model = copy.deepcopy(teacher)
    with torch.no_grad():
        for parameter in model.backbone.parameters():
            parameter.zero_()
    network = recomputed(model.backbone) if recompute else model.backbone
    model.backbone = CausalDiT(network, chunk=2, sink=1, window=1)
    return model


def training(name, teacher, recompute=False):
    model = fresh(teacher, recompute)
    if name == "ode":
        return OdeTraining(model, OdeRegression(), learning_rate=1e-3, warmup=1)
    stage = {
        "off_policy": OffPolicy(STEPS, Judged(1, given=1), CodecDistance()),
        "on_policy": OnPolicy(STEPS, Judged(1, given=1)),
        "refiner": Refine(REFINE, STEPS, judged=Judged(None)),
    }[name]
    dmd = DMD(FlowMatching(model.prediction, model.coordinates), {"speak": 1.5})
    return DistributionTraining(model, stage, dmd, Pace(1e-3, 1e-3, ratio=2))


def trainer(folder, steps, *callbacks, **settings):
    return Trainer(
        accelerator="cpu", max_steps=steps, default_root_dir=folder, logger=False, enable_progress_bar=False,
        enable_model_summary=False, limit_val_batches=0, callbacks=list(callbacks), **settings,
    )  # fmt: skip


def copies(module):
    return {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}


def different(one, other):
    assert one.keys() == other.keys()
    return [name for name in one if not torch.equal(one[name], other[name])]


@pytest.mark.parametrize(
    "name, middle, end, recompute",
    [
        ("ode", 2, 4, False),
        ("ode", 2, 4, True),
        *((name, 2, 6, False) for name in STAGES),  # after a batch: the student has learnt, its cycle is half done
        *((name, 3, 6, False) for name in STAGES),  # after a cycle of two batches
    ],
)
def test_resumed_equals_uninterrupted(name, middle, end, recompute, teacher, data, tmp_path):
    """Student, fake network, average, both optimisers, and the place in the data."""

    def run(folder, resume=None):
        module = training(name, teacher, recompute)
        saved = ModelCheckpoint(folder, "{step}", every_n_train_steps=1, save_top_k=-1)
        run = trainer(folder, end, StudentAverage(0.5), saved)
        torch.manual_seed(0 if resume is None else 1)  # nothing may depend on the global state of chance
        run.fit(module, datamodule=data(), ckpt_path=resume, weights_only=False)
        content = torch.load(folder / f"step={end}.ckpt", weights_only=False)
        return module, content

    (whole, before), (again, after) = run(tmp_path / "a"), run(tmp_path / "b", tmp_path / "a" / f"step={middle}.ckpt")
    assert different(copies(whole), copies(again)) == []
    assert different(before["state_dict"], after["state_dict"]) == []
    assert different(before["student"], after["student"]) == []
    assert any(not torch.equal(tensor, before["state_dict"][key]) for key, tensor in before["student"].items())
    for one, other in zip(before["optimizer_states"], after["optimizer_states"], strict=True):
        assert len(one["state"]) > 0
        for index, state in one["state"].items():
            assert different(state, other["state"][index]) == []
    place = before["TrajectoryData"]["train"]
    assert place == after["TrajectoryData"]["train"] and place["step"] == 4


@pytest.mark.parametrize("name, step", [("ode", 2), ("on_policy", 3)])
def test_a_resumed_run_takes_the_recipes_learning_rates(name, step, teacher, data, tmp_path):
    class Watch(Callback):
        def on_train_batch_start(self, trainer, pl_module, *args):
            rates.append([group["lr"] for optimizer in trainer.optimizers for group in optimizer.param_groups])

    def run(rate, resume=None):
        module = training(name, teacher)
        module.learning_rate, module.pace = rate, Pace(rate, 2 * rate, ratio=2)
        saved = ModelCheckpoint(tmp_path / str(rate), "{step}", every_n_train_steps=1, save_top_k=-1)
        run = trainer(tmp_path, 2 * step, saved, Watch())
        run.fit(module, datamodule=data(), ckpt_path=resume, weights_only=False)
        return rates[-2:]  # the batches behind the checkpoint

    rates = []
    wanted = run(1e-4)
    assert run(1e-3)[0][0] > 5 * wanted[0][0]
    assert run(1e-4, tmp_path / "0.001" / f"step={step}.ckpt") == wanted


@pytest.mark.parametrize("name", STAGES)
def test_the_student_moves_in_its_turns_and_the_fake_network_in_all(name, teacher, data):
    module = training(name, teacher)
    module.configure_model()
    start, own = copies(teacher.backbone), data()
    own.prepare_data()
    history = []

    def step_student(*args):
        before = copies(module.fake)
        DistributionTraining.step_student(module, *args)
        assert different(before, copies(module.fake)) == []

    def step_fake(*args):
        before = copies(module.model)
        DistributionTraining.step_fake(module, *args)
        assert different(before, copies(module.model)) == []
        history.append((copies(module.model.backbone), copies(module.fake)))

    module.step_student, module.step_fake = step_student, step_fake
    trainer(own.folder, 6).fit(module, datamodule=own)
    assert len(history) == 4 and int(module.batches) == 4
    students, fakes = zip(*history)
    assert [bool(different(a, b)) for a, b in zip((start, *students), students)] == [True, False, True, False]
    assert all(different(a, b) for a, b in zip((start, *fakes), fakes))
    assert different(start, copies(module._frozen[0])) == []
    assert copies(module._frozen[0]).keys() == start.keys() and module._teacher == []  # no second encoders
    assert not any(key.startswith("_frozen") or "teacher" in key for key in module.state_dict())


@pytest.mark.parametrize("piece, steps", [(8, 30), (16, 10)])
def test_stage_1_begins_as_the_base_model_and_learns(piece, steps, teacher, data, tmp_path):
    module, losses = training("ode", teacher), []
    loss = module.loss

    def keep(batch, chance):
        assert {row["trajectory"]["piece"] for row in batch.meta} == {piece}
        if not losses:
            assert different(copies(teacher.backbone), copies(module.model.backbone)) == []
        found = loss(batch, chance)
        losses.append(found[0].item())
        return found

    module.loss = keep
    trainer(tmp_path, steps).fit(module, datamodule=data())
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])
    assert different({k: v for k, v in copies(teacher).items() if "backbone" not in k},
                     {k: v for k, v in copies(module.model).items() if "backbone" not in k}) == []  # fmt: skip


def test_stage_1_keeps_its_teachers_encoders_to_the_bit_for_stage_2(teacher, data, tmp_path):
    """An average of equal numbers is not always their number: .99 a + .01 a rounds."""
    saved = ModelCheckpoint(tmp_path, "{step}", every_n_train_steps=20)
    trainer(tmp_path, 20, StudentAverage(0.99), saved).fit(training("ode", teacher), datamodule=data())
    content = torch.load(tmp_path / "step=20.ckpt", weights_only=False)["state_dict"]
    frozen = {f"model.{name}": x for name, x in copies(teacher).items() if "backbone" not in name}
    assert different(frozen, {name: content[name] for name in frozen}) == []
    second = training("off_policy", teacher)
    second.start = str(tmp_path / "step=20.ckpt")
    trainer(tmp_path, 3).fit(second, datamodule=data())


def test_two_processes_learn_what_one_does_of_both_their_rows(monkeypatch, tmp_path):
    monkeypatch.setattr(student, "base_puppet", None)  # put back after the test
    (one, told), (other, _) = run_processes(distil_in_processes, 2, tmp_path)
    assert different(one, other) == []
    start = one_row_each(DistributionTraining).model.state_dict()
    assert different({name: one[f"model.{name}"] for name in start}, start)
    for name, tensor in distil().items():
        torch.testing.assert_close(one[name], tensor, rtol=1e-9, atol=1e-9, msg=lambda m, name=name: f"{name}: {m}")
    assert "set trainer.strategy to ddp_find_unused_parameters_true" in told


def test_gradients_are_clipped_after_the_scale_of_16_mixed_is_off(teacher, data, tmp_path):
    """Else the clipped norm is divided by the scale, and the networks hardly move."""

    class Watch(Callback):
        def __init__(self):
            self.norms = []

        def on_train_start(self, trainer, pl_module):
            for optimizer in trainer.optimizers:
                optimizer.register_step_pre_hook(self.measure)

        def measure(self, optimizer, args, kwargs):
            grads = [x.grad for group in optimizer.param_groups for x in group["params"] if x.grad is not None]
            self.norms.append(torch.stack([grad.norm() for grad in grads]).norm().item())

    watch, module = Watch(), training("on_policy", teacher)
    module.pace = Pace(1e-3, 1e-3, ratio=2, clip=1e-3)
    half = MixedPrecision("16-mixed", "cpu", torch.amp.GradScaler("cpu", init_scale=128.0))
    trainer(tmp_path, 3, watch, plugins=[half]).fit(module, datamodule=data())
    assert watch.norms == pytest.approx([1e-3] * 3, rel=1e-2)


def test_a_checkpoint_is_the_start_of_the_next_stage(teacher, data, tmp_path, monkeypatch):
    saved = ModelCheckpoint(tmp_path, "{step}", every_n_train_steps=3)
    trainer(tmp_path, 3, StudentAverage(0.5), saved).fit(training("on_policy", teacher), datamodule=data())
    path = tmp_path / "step=3.ckpt"
    weights = {k.removeprefix("model."): v for k, v in torch.load(path, weights_only=False)["state_dict"].items()}
    refiner = training("refiner", teacher)
    refiner.start, refiner.stage.backbone = str(path), str(path)
    trainer(tmp_path, 3).fit(refiner, datamodule=data())
    frozen = {f"backbone.{name}": x for name, x in copies(refiner.stage._frozen[0]).items()}
    assert all(torch.equal(weights[name], x) for name, x in frozen.items())


def test_a_student_unlike_its_teacher_is_refused(teacher, data, tmp_path):
    module = training("on_policy", teacher)
    module.model.coordinates = type(teacher.coordinates)(0.7)
    with pytest.raises(ValueError, match=r"coordinates Residual\(scale=0.7\) of the student, Residual\(scale=1.0\)"):
        trainer(tmp_path, 3).fit(module, datamodule=data())
    module = training("on_policy", teacher)
    module.model.shift = 5.0
    with pytest.raises(ValueError, match="shift 5 of the student, 3 of its teacher; set the teacher's"):
        trainer(tmp_path, 3).fit(module, datamodule=data())
    module, other = training("on_policy", teacher), copy.deepcopy(teacher)
    next(other.speak.parameters()).data += 1
    torch.save({"state_dict": {f"model.{k}": v for k, v in other.state_dict().items()}}, tmp_path / "other.ckpt")
    module.start = str(tmp_path / "other.ckpt")
    with pytest.raises(ValueError, match="encoder of speak differs"):
        trainer(tmp_path, 3).fit(module, datamodule=data())
    other = copy.deepcopy(teacher)
    other.codec.encoder.linear[1].bias += 1
    with pytest.raises(ValueError, match="codec makes other latents"):
        student.share_encoders(teacher, other)


def test_weights_in_half_precision_are_a_start_and_encode_as_the_teacher(teacher, data, tmp_path):
    module, rounded = training("on_policy", teacher), copy.deepcopy(teacher).half().state_dict()
    torch.save({"state_dict": {f"model.{name}": x.float() for name, x in rounded.items()}}, tmp_path / "half.ckpt")
    module.start = str(tmp_path / "half.ckpt")
    trainer(tmp_path, 3).fit(module, datamodule=data())
    mine, its = module.model.state_dict(), teacher.state_dict()
    frozen = [name for name in its if not name.startswith(("backbone.", "codec.decoder."))]
    assert frozen and all(torch.equal(mine[name], its[name]) for name in frozen)


def test_trajectories_at_other_levels_are_refused(teacher, data, tmp_path, monkeypatch):
    other = copy.deepcopy(teacher)
    other.shift = 5.0  # the teacher whose student this is did not perform the trajectories
    monkeypatch.setattr(student, "base_puppet", lambda: other)
    module = training("ode", other)
    with pytest.raises(ValueError, match=r"trajectories at noise levels \[1.0, 0.857, 0.6, 0.0\], but a shift of 5"):
        trainer(tmp_path, 1).fit(module, datamodule=data())


def test_the_average_follows_the_students_steps_alone(teacher, data, tmp_path):
    module, mean = training("on_policy", teacher), StudentAverage(0.75)
    name = "model.backbone.head.new.out.weight"
    seen = []

    class Watch(Callback):
        def on_train_batch_end(self, trainer, pl_module, *args):
            seen.append((pl_module.state_dict()[name].clone(), mean.average[name].clone()))

    start = teacher.backbone.head.new.out.weight.detach()
    trainer(tmp_path, 6, mean, Watch()).fit(module, datamodule=data())
    expected = start
    for index, (now, averaged) in enumerate(seen):
        if index % 2 == 0:
            expected = 0.75 * expected + 0.25 * now
        torch.testing.assert_close(averaged, expected)
    torch.testing.assert_close(module.state_dict()[name], expected)
    with pytest.raises(ValueError, match="decay of 1"):
        StudentAverage(1.0)
    with pytest.raises(ValueError, match="ratio of 0"):
        Pace(ratio=0)
    assert isinstance(module.model, PerformanceModel)


def test_the_last_checkpoint_of_a_short_run_holds_the_student(teacher, data, tmp_path):
    """Lightning writes it when training has ended and the average stands in the student's place."""

    class Watch(Callback):
        def on_train_batch_end(self, trainer, pl_module, *args):
            self.student = copies(pl_module)

    module, watch = training("ode", teacher), Watch()
    saved = ModelCheckpoint(tmp_path, every_n_train_steps=9, save_last=True)
    trainer(tmp_path, 2, StudentAverage(0.5), watch, saved).fit(module, datamodule=data())
    found = torch.load(tmp_path / "last.ckpt", weights_only=False)
    assert different(found["student"], {name: watch.student[name] for name in found["student"]}) == []
    assert different(found["state_dict"], copies(module)) == []
    assert different(found["student"], {name: found["state_dict"][name] for name in found["student"]})


def test_the_average_waits_while_gradients_are_accumulated(teacher, data, tmp_path):
    module, mean, seen = training("ode", teacher), StudentAverage(0.75), []
    name = "model.backbone.head.new.out.weight"

    class Watch(Callback):
        def on_train_batch_end(self, trainer, pl_module, *args):
            seen.append((trainer.global_step, pl_module.state_dict()[name].clone()))

    trainer(tmp_path, 3, mean, Watch(), accumulate_grad_batches=2).fit(module, datamodule=data())
    assert [step for step, _ in seen] == [0, 1, 1, 2, 2, 3]
    expected = teacher.backbone.head.new.out.weight.detach()
    for _, now in seen[1::2]:
        expected = 0.75 * expected + 0.25 * now
    torch.testing.assert_close(module.state_dict()[name], expected)
