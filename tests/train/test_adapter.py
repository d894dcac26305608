"""Training adapters: resumed equals uninterrupted, the folder that is left plays, and off is as good as a copy."""

import copy
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Trainer, seed_everything
from lightning.pytorch.callbacks import ModelCheckpoint

from lpm.backbone import puppet
from lpm.cli.trainer import cli
from lpm.condition import ByteText, LogMelEncoder
from lpm.data import MemoryClips
from lpm.data.puppets.plan import CorpusSpec
from lpm.flow import PredictClean, Residual
from lpm.objective import FlowDPO, FlowMatching
from lpm.sample import LoRA, PerformanceModel, load_adapter
from lpm.sample.adapter import is_at_rest
from lpm.sample.tensors import own_weights
from lpm.train import (
    AdaptersOff,
    Average,
    BaseTraining,
    FrozenCopy,
    PairSettings,
    PreferenceTraining,
    PuppetData,
    SaveAdapter,
)

pytest.importorskip("peft")


def make(codec, adapter=None):
    torch.manual_seed(0)
    network = puppet(width=32, depth=2, heads=2, audio_width=16, text_width=16)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    speak, listen = LogMelEncoder(16, 50.0, mels=16), LogMelEncoder(16, 12.5, mels=16)
    return PerformanceModel(
        network, codec, ByteText(16), speak, listen, PredictClean(), Residual(1.0), adapter=adapter
    )  # fmt: skip


@pytest.fixture
def start(codec, tmp_path):
    """A checkpoint of the plain model."""
    path = tmp_path / "start.ckpt"
    torch.save({"state_dict": {f"model.{name}": value for name, value in make(codec).state_dict().items()}}, path)
    return str(path)


@pytest.fixture
def data(corpus, codec, monkeypatch):
    monkeypatch.setattr("lpm.train.data.build_corpus", lambda folder, spec, workers: folder)

    def make_data():
        return PuppetData(
            CorpusSpec(), codec, str(corpus), frames=9, batch_size=2, history=0.3, lookahead=0.1, measured_frames=33
        )

    return make_data


def trainer(folder, steps, *callbacks):
    return Trainer(
        accelerator="cpu", max_steps=steps, default_root_dir=folder, logger=False, enable_progress_bar=False,
        enable_model_summary=False, limit_val_batches=0, callbacks=list(callbacks),
    )  # fmt: skip


def training(codec, start):
    model = make(codec, LoRA(rank=2, train=["speak"]))
    module = BaseTraining(model, FlowMatching(model.prediction, model.coordinates), warmup=1, start=start)
    module.dropout.rates = dict.fromkeys(module.dropout.rates, 0.0)
    forward = type(module.objective).forward

    def repeatable(backbone, latents, *args, **kwargs):
        """Noise that depends on the latents alone, so that only data order and state matter."""
        generator = torch.Generator().manual_seed(int(latents.double().abs().sum() * 1e3) % 2**31)
        return forward(module.objective, backbone, latents, *args, **{**kwargs, "generator": generator})

    module.objective.forward = repeatable
    return module


def test_resumed_equals_uninterrupted_and_only_adapters_moved(codec, start, data, tmp_path):
    def run(resume=None):
        module = training(codec, start)
        saved = ModelCheckpoint(tmp_path, "{step}", every_n_train_steps=2, save_top_k=-1)
        callbacks = Average(decay=0.5), SaveAdapter(), saved
        trainer(tmp_path, 4, *callbacks).fit(module, datamodule=data(), ckpt_path=resume, weights_only=False)
        return module.model

    whole, again = run(), run(tmp_path / "step=2.ckpt")
    state = whole.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in again.state_dict().items())
    plain = own_weights(make(codec))
    for name, value in state.items():
        if ".lora_" not in name and ".modules_to_save." not in name and not name.startswith("codec."):
            original = name.replace("base_model.model.", "").replace("base_layer.", "").replace("original_module.", "")
            assert torch.equal(value, plain[original]), name
    moved = [name for name, value in state.items() if ".lora_B." in name and value.any()]
    copied = "backbone.base_model.model.speak.{}project.weight"
    assert moved
    assert not torch.equal(state[copied.format("modules_to_save.default.")], state[copied.format("original_module.")])
    played = load_adapter(make(codec), tmp_path / "adapter", merge=False)  # averaged weights, as the run ends with
    assert all(torch.equal(value, state[name]) for name, value in played.state_dict().items())


@pytest.fixture
def pairs(corpus, codec):
    batch = MemoryClips(corpus / "shards", PairSettings(frames=17, history=0.3, lookahead=0.1).cut, batch_size=2).draw(
        0
    )
    generator = torch.Generator().manual_seed(3)
    latents = make(codec).latents(batch)
    batch.latents_BTCYX = latents
    batch.loser_BTCYX = latents + 0.1 * torch.randn(latents.shape, generator=generator)
    return batch


def test_adapters_off_is_the_frozen_copy(codec, pairs):
    def gradients(reference):
        model = make(codec, LoRA(rank=2, train=["speak"]))
        module = PreferenceTraining(
            model, FlowDPO(FlowMatching(model.prediction, model.coordinates)), reference=reference
        )
        module.reference.begin(model)
        seed_everything(1, verbose=False)
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.requires_grad:
                    parameter += 0.05 * torch.randn_like(parameter)
        loss, parts = module.loss(pairs, torch.Generator().manual_seed(2))
        loss.backward()
        return loss, parts, {name: p.grad for name, p in model.named_parameters() if p.requires_grad}

    (loss, parts, grads), (truth, true_parts, true_grads) = gradients(AdaptersOff()), gradients(FrozenCopy())
    assert parts["winner_change"] != 0
    assert torch.equal(loss, truth) and all(torch.equal(parts[name], true_parts[name]) for name in parts)
    assert grads.keys() == true_grads.keys()
    assert all((a is None) == (b is None) and (a is None or torch.equal(a, b)) for a, b in zip(
        grads.values(), true_grads.values(), strict=True
    ))  # fmt: skip
    assert sum(grad is not None and bool(grad.any()) for grad in grads.values()) > 10


def test_off_is_no_second_copy_and_comes_back_on(codec):
    model = make(codec, LoRA(rank=2)).train()
    module = PreferenceTraining(model, FlowDPO(FlowMatching(model.prediction, model.coordinates)))
    assert isinstance(module.reference, AdaptersOff)
    module.reference.begin(model)
    trained = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    with module.reference.use() as reference:
        assert reference is model and not model.training
    assert model.training and not model.codec.training
    assert trained == [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    plain = PreferenceTraining(make(codec), FlowDPO(FlowMatching(model.prediction, model.coordinates)))
    assert isinstance(plain.reference, FrozenCopy)


def test_a_start_whose_adapters_are_in_use_is_refused(codec):
    model = make(codec, LoRA(rank=2))
    with pytest.raises(ValueError, match="has no adapters to switch off"):
        AdaptersOff().begin(make(codec))
    with pytest.raises(ValueError, match=r"call begin\(model\)"), AdaptersOff().use():
        pass
    with torch.no_grad():
        next(p for name, p in model.named_parameters() if ".lora_B." in name).fill_(1.0)
    assert not is_at_rest(copy.deepcopy(model).backbone)
    with pytest.raises(ValueError, match="adapters of the start are in use"):
        AdaptersOff().begin(model)


def test_the_overlay_lies_over_preference_tuning_too(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    recipes = Path(__file__).parents[2] / "recipes"
    words = [f"--config={recipes / name}" for name in ("dpo.yaml", "overlay/lora.yaml")]
    whole, adapted = (
        cli("lpm", [*chosen, "--trainer.accelerator=cpu", "--trainer.logger=false"], run=False)
        for chosen in (words[:1], words)
    )
    model = adapted.model
    assert isinstance(model, PreferenceTraining) and isinstance(model.reference, AdaptersOff)
    assert model.start == whole.model.start == "lpm.sample.base_puppet"
    assert adapted.datamodule.folder == whole.datamodule.folder, "candidates must not be performed again"
