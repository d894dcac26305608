"""Training, measuring and performing on a device that is not the CPU: nothing meets what was left on the CPU."""

import copy
import json

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.accelerators import CPUAccelerator
from lightning.pytorch.strategies import SingleDeviceStrategy
from PIL import Image

from elsewhere import elsewhere
from lpm.data import wav_bytes
from lpm.data.puppets.plan import CorpusSpec
from lpm.objective import FlowMatching
from lpm.train import (
    Average,
    BasePrediction,
    BaseTraining,
    PerformanceReport,
    PuppetData,
    Request,
    Requests,
    SeedSteps,
    WriteVideos,
)
from lpm.train import data as data_module
from lpm.types import Prompt


@pytest.fixture
def puppet_data(corpus, codec, monkeypatch):
    """A data module whose corpus is drawn and encoded, with a codec of its own, as recipes build it."""
    monkeypatch.setattr(data_module, "build_corpus", lambda *_: None)
    settings = {"frames": 9, "batch_size": 2, "history": 0.3, "lookahead": 0.1, "measured_frames": 17, "workers": 1}
    data = PuppetData(CorpusSpec(), copy.deepcopy(codec), str(corpus), **settings)
    data.prepare_data()
    return data


def trainer(folder, device, *callbacks):
    return Trainer(
        strategy=SingleDeviceStrategy(device, CPUAccelerator()), max_steps=2, val_check_interval=2, logger=False,
        num_sanity_val_steps=0, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        gradient_clip_val=1.0, inference_mode=False, default_root_dir=folder, callbacks=list(callbacks),
    )  # fmt: skip


def figures(model, data, folder, device):
    """Train, validate and test on a device; return the held-out losses and what the report says after both."""
    module = BaseTraining(model, FlowMatching(model.prediction, model.coordinates, history_noise=0.5), warmup=1)
    report = PerformanceReport(steps=1, chunk=8, videos=1)
    trained = trainer(folder, device, Average(decay=0.5), SeedSteps(0), report)
    trained.fit(module, datamodule=data)
    found = [json.loads((folder / "performance.json").read_text())]
    found += trained.validate(module, datamodule=data, verbose=False)
    found += trained.test(module, datamodule=data, verbose=False)
    media = {path.name: path.read_bytes() for path in (folder / "media").iterdir()}
    return [*found, json.loads((folder / "performance.json").read_text()), media]


def test_training_and_its_report_are_the_same_on_another_device(model, puppet_data, tmp_path):
    with torch.no_grad():  # a head of zeros would make a still picture from any sound
        for parameter in model.backbone.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    here = figures(copy.deepcopy(model), puppet_data, tmp_path / "here", torch.device("cpu"))
    with elsewhere() as device:
        there = figures(model, puppet_data, tmp_path / "there", device)
    assert there == here
    assert here[0].keys() == {"seen", "held_out"} and here[3].keys() == {"test"}
    assert {name for name in here[4] if name.endswith("png")} == {"seen.png", "held_out.png", "test.png"}


def test_requests_are_performed_on_another_device(model, tmp_path, monkeypatch):
    monkeypatch.setattr("lpm.train.predict.load_performer", lambda *_: model)
    Image.new("RGB", (40, 30), (200, 150, 120)).save(tmp_path / "face.png")
    (tmp_path / "voice.wav").write_bytes(wav_bytes(np.sin(np.arange(9_600) / 20).astype(np.float32) / 2))

    def perform(device):
        output = tmp_path / f"{str(device)[-1]}.mp4"
        request = Request(
            tmp_path / "face.png", output, speak=tmp_path / "voice.wav", text="calm", negative="loud",
            prompts=[Prompt(0.4, "laughs")],
        )  # fmt: skip
        module = BasePrediction(steps=1, chunk=8, guidance={"text": 2.0, "speak": 1.5})
        data = Requests([request], size=32)
        trainer(tmp_path, device, WriteVideos()).predict(module, datamodule=data, return_predictions=False)
        return output.read_bytes()

    here = perform(torch.device("cpu"))
    with elsewhere() as device:
        assert perform(device) == here
