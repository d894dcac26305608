"""``overlay/1b.yaml`` from tiny random weights in the true formats: converted, built, trained, saved and performing."""

import json
import shutil
from pathlib import Path

import av
import pytest
import torch
import yaml

from lpm.cli import main
from lpm.train import PuppetData
from lpm.train.checkpoint import load_model
from lpm.train.measure import SOURCES
from lpm.types import Conditions, TextFeatures
from tiny_weights import save_encoders, wan_transformer

diffusers = pytest.importorskip("diffusers")
pytest.importorskip("transformers")
RECIPES = Path(__file__).parents[2] / "recipes"


@pytest.fixture
def weights(tmp_path, monkeypatch):
    """A working folder with the weights that the overlay names."""
    monkeypatch.chdir(tmp_path)
    wan_transformer(in_channels=16, out_channels=16).save_pretrained("wan/transformer")
    Path("wan/model_index.json").write_text("{}")
    save_encoders()
    assert main(["weights", "convert", "wan", "weights/wan-1b", "--audio_width", "24"]) == 0
    return tmp_path


def test_a_model_of_real_weights_trains_and_performs(weights, corpus, monkeypatch):
    monkeypatch.setattr("lpm.train.data.build_corpus", lambda *_: None)
    shutil.copytree(corpus / "shards", "corpus/shards")
    words = ["fit", "--config", str(RECIPES / "base.yaml"), "--config", str(RECIPES / "overlay/1b.yaml")]
    words += ["--trainer.accelerator=cpu", "--trainer.precision=32", "--trainer.max_steps=2"]
    words += [
        "--trainer.val_check_interval=2",
        "--data.folder=corpus",
        "--model.learning_rate=1e-3",
        "--model.warmup=1",
    ]
    words += ["--data.workers=1", "--data.frames=9", "--data.measured_frames=9", "--data.measured_clips=2"]
    assert main(words) == 0
    checkpoint = next(Path("runs/1b").rglob("last.ckpt"))
    model = load_model(checkpoint)
    assert model.backbone.speak is not None and not any(p.requires_grad for p in model.text.parameters())
    data = PuppetData(codec=model.codec, folder="corpus", measured_frames=9)
    video = model.perform(next(iter(data.performance_loaders()["held_out"])), steps=2)
    assert video.shape == (2, 9, 3, 32, 32) and torch.isfinite(video).all()
    check_report(next(Path("runs/1b").rglob("performance.json")).parent)
    config = yaml.safe_load(next(Path("runs/1b").rglob("config.yaml")).read_text())
    assert config["data"]["init_args"]["beginning"] == "lpm.data.continue_from_causal"
    check_export(checkpoint, model.backbone)


def check_report(folder):
    """A fit ends with figures, videos with sound and strips of both sets, and TensorBoard shows them."""
    figures = json.loads((folder / "performance.json").read_text())
    assert figures.keys() == {"seen", "held_out"}
    assert all(of["scores"]["identity_distance"].keys() == set(SOURCES) for of in figures.values())
    clips = ["held_out-clip008.mp4", "held_out-clip009.mp4", "seen-clip006.mp4", "seen-clip007.mp4"]
    assert {path.name for path in (folder / "media").iterdir()} == {*clips, "held_out.png", "seen.png"}
    for clip in clips:
        with av.open(str(folder / "media" / clip)) as video:
            assert {stream.type for stream in video.streams} == {"video", "audio"}
    events = b"".join(path.read_bytes() for path in folder.glob("events.out.tfevents*"))
    for tag in (b"val/loss", b"performance/held_out/identity_distance/silent", b"seen/strip"):
        assert tag in events


def check_export(checkpoint, network):
    """What was trained plays in diffusers as it does here without sound, and is not what training began with."""
    assert main(["weights", "export", str(checkpoint), "out", "--form", "diffusers"]) == 0
    theirs = diffusers.WanTransformer3DModel.from_pretrained("out/transformer")
    video, text, level = torch.randn(2, 16, 3, 6, 8), torch.randn(2, 7, 24), torch.tensor([0.3, 0.9])
    conditions = Conditions(text=TextFeatures(text, torch.ones(2, 7, dtype=torch.bool)))
    with torch.no_grad():
        truth = theirs(video, level * 1000, text).sample
        ours = network.zero_audio_()(video.transpose(1, 2), level[:, None].expand(-1, 3), conditions, 16.0)
        before = diffusers.WanTransformer3DModel.from_pretrained("wan/transformer")(video, level * 1000, text).sample
    torch.testing.assert_close(ours.transpose(1, 2), truth, atol=1e-5, rtol=0)
    assert (truth - before).abs().max() > 1e-3
