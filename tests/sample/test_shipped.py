"""Weights that ship with the package: where they are looked for, and which ones stream."""

from importlib.resources import files

import pytest
import torch

from lpm.backbone import CausalDiT
from lpm.build import build
from lpm.sample import base_puppet, online_puppet, refiner_puppet, save_performance, stream_puppet
from lpm.stream import StreamSampler, usual_steps


def spec(backbone):
    hears = {"class_path": "lpm.condition.LogMelEncoder", "init_args": {"width": 16, "rate": 50.0, "mels": 16}}
    return {
        "class_path": "lpm.sample.PerformanceModel",
        "init_args": {
            "backbone": backbone,
            "codec": {"class_path": "lpm.codec.tiny_codec"},
            "text": {"class_path": "lpm.condition.ByteText", "init_args": {"width": 16}},
            "speak": hears,
            "listen": hears,
            "prediction": {"class_path": "lpm.flow.PredictPreconditioned"},
            "coordinates": {"class_path": "lpm.flow.Residual", "init_args": {"scale": 0.4}},
            "shift": 15.0,
        },
    }


PLAIN = {
    "class_path": "lpm.backbone.puppet",
    "init_args": {"width": 32, "depth": 2, "heads": 2, "audio_width": 16, "text_width": 16, "listen_rate": 50.0},
}
CAUSAL = {"class_path": "lpm.backbone.CausalDiT", "init_args": {"network": PLAIN, "chunk": 6, "sink": 2, "window": 1}}


def ship(folder, name, backbone, seed):
    """Write tiny random weights in the place and format of those that ship."""
    torch.manual_seed(seed)
    model = build(spec(backbone))
    save_performance(model, spec(backbone), folder / "weights" / name)
    return model


@pytest.fixture
def package(tmp_path, monkeypatch):
    monkeypatch.setattr("lpm.sample.pretrained.files", lambda package: tmp_path)
    return tmp_path


def equal(one, other):
    return all(torch.equal(x, y) for x, y in zip(one.parameters(), other.parameters(), strict=True))


def test_the_pair_is_loaded_from_the_package(package):
    model, refiner = ship(package, "online", CAUSAL, 1), ship(package, "refiner", CAUSAL, 2)
    loaded, second = online_puppet(), refiner_puppet()
    assert isinstance(loaded.backbone, CausalDiT) and isinstance(second, CausalDiT)
    assert equal(loaded, model) and equal(second, refiner.backbone) and not equal(second, model.backbone)
    assert (loaded.backbone.sink, second.window, loaded.training) == (2, 1, False)


def test_what_does_not_ship_is_an_error_and_nothing_else_is_taken(package):
    ship(package, "base", PLAIN, 0)
    base_puppet()
    for name, load in (("online", online_puppet), ("refiner", refiner_puppet)):
        with pytest.raises(ValueError, match=f"ships no {name} weights; name a folder"):
            load()
    ship(package, "refiner", PLAIN, 0)
    with pytest.raises(ValueError, match="shipped refiner is a DiT"):
        refiner_puppet()


def test_a_stream_runs_what_ships_unless_it_is_told(package, monkeypatch):
    model, refiner = ship(package, "online", CAUSAL, 1), ship(package, "refiner", CAUSAL, 2)
    pair = (online_puppet(), refiner_puppet())
    monkeypatch.setattr("lpm.stream.sampler.stream_puppet", lambda: pair)
    sampler = StreamSampler()
    assert equal(sampler.backbone, model.backbone) and equal(sampler.refiner, refiner.backbone)
    assert vars(sampler.pipeline.stages[0].steps) == vars(usual_steps(model))
    assert sampler.backbone.sink == 2
    assert StreamSampler(model).refiner is None
    assert StreamSampler(refiner=model.backbone).refiner is model.backbone


def test_the_pair_that_streams_is_in_the_package():
    model, refiner = stream_puppet()
    assert isinstance(model.backbone, CausalDiT) and isinstance(refiner, CausalDiT)
    assert not equal(model.backbone, refiner)
    assert (refiner.chunk, refiner.sink, refiner.window) == (6, 3, 2)
    assert model.guidance == {}, "a stream follows its model's own guidance, which would cost evaluations"


@pytest.mark.parametrize("name", ["online", "refiner"])
def test_shipped_weights_are_small_and_have_a_card(name):
    folder = files("lpm.sample") / "weights" / name
    assert (folder / "model.safetensors").stat().st_size <= 16e6
    assert (folder / "README.md").read_text().startswith("---\nlibrary_name: lpm\n")
