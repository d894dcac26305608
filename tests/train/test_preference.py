import copy
import json
import math

import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from lpm.data import MemoryClips
from lpm.data.puppets.plan import CorpusSpec
from lpm.objective import FlowDPO, FlowMatching
from lpm.sample import LoRA, PerformanceModel
from lpm.train import (
    Average,
    FrozenCopy,
    PairData,
    PairSettings,
    PreferenceReport,
    PreferenceTraining,
    SeedSteps,
    pair_data,
)
from lpm.train.preference import reference_of
from lpm.train.preference_report import Change, change, compare, score_batch


class Brightness:
    """Prefers bright videos."""

    def __init__(self):
        self.tolerances = {"bright": 1e-4, "end": 1e-4}

    def judge(self, candidate):
        return {"bright": float(candidate.video_THWC.mean()), "end": float(candidate.video_THWC[-1].mean())}


@pytest.fixture
def start(model, tmp_path):
    """A checkpoint of a model whose candidates differ."""
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.backbone.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    path = tmp_path / "start.ckpt"
    torch.save({"state_dict": {f"model.{name}": tensor for name, tensor in model.state_dict().items()}}, path)
    return str(path)


@pytest.fixture
def pairs(corpus, model, start, tmp_path, monkeypatch):
    """Data modules whose corpus is drawn, and whose pairs are made once."""
    monkeypatch.setattr(pair_data, "build_corpus", lambda folder, spec, workers: folder)
    performer = copy.deepcopy(model)
    monkeypatch.setattr(pair_data, "load_model", lambda weights: performer)
    settings = PairSettings(candidates=3, frames=17, steps=1, chunk=8, history=0.3, lookahead=0.1)

    def make():
        return PairData(
            CorpusSpec(), start, settings, [Brightness()], str(corpus), str(tmp_path / "pairs"), frames=13,
            batch_size=2, measured_frames=17,
        )  # fmt: skip

    make().prepare_data()
    return make


def training(model, start):
    return PreferenceTraining(
        model, FlowDPO(FlowMatching(model.prediction, model.coordinates)), learning_rate=1e-3, warmup=1, start=start
    )


def trainer(folder, steps, *callbacks):
    return Trainer(
        accelerator="cpu", max_steps=steps, default_root_dir=folder, logger=False, enable_progress_bar=False,
        enable_model_summary=False, limit_val_batches=0, callbacks=list(callbacks),
    )  # fmt: skip


def weights(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def test_the_start_is_indifferent(model, start, pairs):
    module = training(model, start)
    module.reference.begin(model)
    _, parts = module.loss(next(iter(pairs().train_dataloader())))
    assert parts["preference_loss"].item() == pytest.approx(math.log(2), abs=1e-4)


def test_the_reference_stays_and_is_not_saved(model, start, pairs, tmp_path):
    module, before = training(model, start), weights(model)
    saved = ModelCheckpoint(tmp_path, "{step}", every_n_train_steps=2)
    trainer(tmp_path, 2, saved).fit(module, datamodule=pairs())
    with module.reference.use() as reference:
        assert all(torch.equal(value, before[name]) for name, value in reference.state_dict().items())
        assert reference.codec is model.codec
        assert not any(parameter.requires_grad for parameter in reference.parameters())
    assert any(not torch.equal(value, before[name]) for name, value in model.state_dict().items())
    content = torch.load(tmp_path / "step=2.ckpt", weights_only=False)
    assert content["state_dict"].keys() == {f"model.{name}" for name in before}


def test_resumed_equals_uninterrupted(model, start, pairs, tmp_path):
    def run(steps, resume=None):
        module = training(model, start)
        saved = ModelCheckpoint(tmp_path, "{step}", every_n_train_steps=2, save_top_k=-1)
        trained = trainer(tmp_path, steps, SeedSteps(), Average(decay=0.5), saved)
        trained.fit(module, datamodule=pairs(), ckpt_path=resume, weights_only=False)
        with module.reference.use() as reference:
            return weights(model), weights(reference)

    whole, reference = run(4)
    again, same = run(4, resume=tmp_path / "step=2.ckpt")
    assert [name for name in whole if not torch.equal(whole[name], again[name])] == []
    assert [name for name in reference if not torch.equal(reference[name], same[name])] == []


def test_the_report_compares_before_with_after(model, start, pairs, tmp_path, capsys):
    module = training(model, start)
    report = PreferenceReport([Brightness()], steps=1, chunk=8, seeds=2)
    trainer(tmp_path, 1, report, ModelCheckpoint(tmp_path)).fit(module, datamodule=pairs())
    found = json.loads((tmp_path / "preference.json").read_text())["held_out"]
    assert found.keys() == {"bright", "end"}
    row = found["bright"]
    assert row["difference"]["n"] == 2 and row["verdict"] == "too few"
    assert row["difference"]["value"] == pytest.approx(row["after"]["value"] - row["before"]["value"])
    assert row["difference"]["value"] != 0
    assert "held_out" in capsys.readouterr().out


def test_the_report_sees_what_adapters_learnt(start, model, corpus):
    model = PerformanceModel(
        model.backbone,
        model.codec,
        model.text,
        model.speak,
        model.listen,
        model.prediction,
        model.coordinates,
        adapter=LoRA(rank=2),
    )
    reference = reference_of(model)
    reference.begin(model)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter += 0.1
    batches = [MemoryClips(corpus / "shards", PairSettings(frames=17).cut, batch_size=2).draw(0)]
    row = compare(reference.use, model, batches, [Brightness()], steps=1, chunk=8, seeds=[0])["bright"]
    assert row.difference.value != 0
    with reference.use() as before:
        assert row.before.value == pytest.approx(
            sum(clip["bright"] for clip in score_batch(before, batches[0], [Brightness()], 1, 8, [0])) / 2
        )


def test_verdicts_ask_for_an_interval_beyond_zero():
    codes = torch.arange(20.0).double()
    noise = torch.randn(20, generator=torch.Generator().manual_seed(0)).double()

    def verdict(shift):
        return change(torch.stack([noise, noise + shift + 0.1 * noise.flip(0), codes], 1))

    assert [verdict(shift).verdict for shift in (1.0, 0.0, -1.0)] == ["better", "same", "worse"]
    holes = noise.clone()
    holes[:5] = float("nan")
    result = change(torch.stack([holes, noise, codes], 1))
    assert isinstance(result, Change)
    assert [int(part.n) for part in result] == [15, 15, 15] and result.as_dict()["verdict"] == "same"


def test_what_is_missing_is_named(model, start, corpus):
    with pytest.raises(ValueError, match=r"call begin\(model\)"), FrozenCopy().use():
        pass
    module = training(model, start)

    batch = MemoryClips(corpus / "shards", PairSettings(frames=17).cut, batch_size=2).draw(0)
    with pytest.raises(ValueError, match="holds no pairs"):
        module.loss(batch)
