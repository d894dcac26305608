"""``lpm weights export`` in every form, from checkpoints with their spec, and ``lpm generate --adapter``."""

import json
import shutil
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

from lpm.backbone import DeferredDiT, DiT, pretrained_dit, puppet, realise
from lpm.build import build
from lpm.cli import main
from lpm.codec import TinyCodec
from lpm.data import wav_bytes
from lpm.sample import PerformanceModel, base_puppet
from lpm.stream import Opening, StreamSampler
from lpm.train import BasePrediction, StudentAverage
from lpm.train.checkpoint import load_model, load_performer
from lpm.train.student import trained
from lpm.types import Conditions, TextFeatures

pytest.importorskip("peft")


RECIPES = Path(__file__).parents[2] / "recipes"
DEFERRED = {"class_path": "lpm.backbone.DeferredDiT", "init_args": {"network": "lpm.backbone.puppet", "recompute": 1}}


def model_spec(adapter=None, velocity=False, backbone=None):
    encoder = {"class_path": "lpm.condition.LogMelEncoder", "init_args": {"width": 128, "rate": 50.0}}
    numbers = {"width": 32, "depth": 2, "heads": 2, "hidden": 40, "channels": 32, "text_width": 128, "waves": 32}
    wan = {"class_path": "lpm.backbone.wan", "init_args": numbers | {"audio_width": 128}}
    parts = {
        "backbone": wan if velocity else backbone or {"class_path": "lpm.backbone.puppet"},
        "codec": {"class_path": "lpm.codec.tiny_codec"},
        "text": {"class_path": "lpm.condition.ByteText"},
        "speak": encoder,
        "listen": encoder | {"init_args": {"width": 128, "rate": 12.5}},
        "prediction": {"class_path": "lpm.flow.PredictVelocity" if velocity else "lpm.flow.PredictClean"},
        "coordinates": {"class_path": "lpm.flow.Absolute"}
        if velocity
        else {"class_path": "lpm.flow.Residual", "init_args": {"scale": 2.0}},
    }
    return {"class_path": "lpm.sample.PerformanceModel", "init_args": parts | ({"adapter": adapter} if adapter else {})}


def checkpoint(path, adapter=None, velocity=False, start=None, backbone=None):
    """A checkpoint as ``lightning fit`` writes it, every trained number moved."""
    model = model_spec(adapter, velocity, backbone)
    parts = {name: model["init_args"][name] for name in ("prediction", "coordinates")}
    objective = {"class_path": "lpm.objective.FlowMatching", "init_args": parts}
    spec = {
        "class_path": "lpm.train.BaseTraining",
        "init_args": {"model": model, "objective": objective, "start": start},
    }
    torch.manual_seed(4)
    module = build(spec)
    realise(module.model)
    if start:
        module.model.load_state_dict(at_start(module.model), strict=False)
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.requires_grad:
                parameter += 0.02 * torch.randn_like(parameter)
    torch.save({"state_dict": module.state_dict(), "spec": spec}, path)
    return module.model.eval()


def at_start(model):
    from lpm.sample.adapter import at_rest

    return at_rest(model, base_puppet().state_dict())


def test_a_checkpoint_of_an_older_version_is_named_with_what_differs(tmp_path):
    checkpoint(tmp_path / "older.ckpt")
    content = torch.load(tmp_path / "older.ckpt", weights_only=True)
    name = next(name for name in content["state_dict"] if name.startswith("model.codec."))
    content["state_dict"][name] = torch.zeros(3)
    torch.save(content, tmp_path / "older.ckpt")
    with pytest.raises(ValueError, match=r"older.ckpt is of another version of lpm, train it again: 1 misshapen\nkey"):
        load_model(tmp_path / "older.ckpt")


LORA = {"class_path": "lpm.sample.LoRA", "init_args": {"rank": 2}}


def run(network, channels=32):
    generator = torch.Generator().manual_seed(1)
    latents = torch.randn(1, 3, channels, 4, 4, generator=generator)
    text = TextFeatures(torch.randn(1, 5, 128, generator=generator), torch.ones(1, 5).bool())
    with torch.no_grad():
        return network(latents, torch.full((1, 3), 0.5), Conditions(text=text), 24.0)


@pytest.mark.parametrize("form", ["model", "backbone"])
def test_model_and_backbone_are_equal_bit_for_bit(form, tmp_path):
    model = checkpoint(tmp_path / "a.ckpt")
    (tmp_path / "performance.json").write_text(json.dumps({"lips": {"value": 0.5, "low": 0.4, "high": 0.6}}))
    words = ["--form", form, "--figures", str(tmp_path / "performance.json"), "--title", "Mine", "--license", "mit"]
    assert main(["weights", "export", str(tmp_path / "a.ckpt"), str(tmp_path / "out"), *words]) == 0
    loaded = (PerformanceModel if form == "model" else DiT).from_pretrained(tmp_path / "out")
    assert torch.equal(run(loaded.backbone if form == "model" else loaded), run(model.backbone))
    card = (tmp_path / "out" / "README.md").read_text()
    assert "# Mine" in card and "license: mit" in card and "0.500 [0.400, 0.600]" in card


@pytest.mark.parametrize("backbone", [DEFERRED, "lpm.backbone.puppet"])
def test_a_backbone_stands_alone_however_the_recipe_names_it(backbone, tmp_path):
    model, out = checkpoint(tmp_path / "a.ckpt", backbone=backbone), str(tmp_path / "out")
    assert main(["weights", "export", str(tmp_path / "a.ckpt"), out, "--form", "backbone"]) == 0
    late = DeferredDiT(puppet, out).build()
    for loaded in (DiT.from_pretrained(out), pretrained_dit(out), late):
        assert torch.equal(run(loaded.eval()), run(model.backbone))


def test_an_adapter_is_exported_alone_played_and_merged(tmp_path):
    model = checkpoint(tmp_path / "a.ckpt", LORA, start="lpm.sample.base_puppet")
    assert main(["weights", "export", str(tmp_path / "a.ckpt"), str(tmp_path / "adapter")]) == 0
    config = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "lpm.sample.base_puppet"
    assert main(["weights", "export", str(tmp_path / "a.ckpt"), str(tmp_path / "merged"), "--form", "model"]) == 0
    truth = run(model.backbone)
    assert (run(base_puppet().backbone) - truth).abs().max() > 1e-3
    for played in (
        load_model(tmp_path / "a.ckpt"),
        load_model(tmp_path / "merged"),
        load_performer(None, tmp_path / "adapter"),
        load_performer("lpm.sample.base_puppet", tmp_path / "adapter"),
        BasePrediction(adapter=str(tmp_path / "adapter")).model,
    ):
        torch.testing.assert_close(run(played.backbone), truth, atol=1e-5, rtol=0)


@pytest.fixture
def generation(tmp_path):
    """The words of a small ``lpm generate`` of ``out.mp4``."""
    Image.new("RGB", (32, 32), (200, 150, 120)).save(tmp_path / "face.png")
    (tmp_path / "voice.wav").write_bytes(wav_bytes(np.zeros(3200, np.float32)))
    words = ["generate", str(tmp_path / "face.png"), str(tmp_path / "out.mp4"), "--speak", str(tmp_path / "voice.wav")]
    return [*words, "--size", "32", "--steps", "1"]


def test_the_overlay_trains_an_adapter_that_generate_plays(generation, corpus, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("lpm.train.data.build_corpus", lambda *_: None)
    shutil.copytree(corpus / "shards", "corpus/shards")
    Path("short.yaml").write_text("trainer: {accelerator: cpu, max_steps: 2, val_check_interval: 2, callbacks: []}")
    configs = [RECIPES / "base.yaml", "short.yaml", RECIPES / "overlay/lora.yaml"]
    words = ["fit", *(f"--config={config}" for config in configs), "--data.folder=corpus", "--data.frames=9"]
    words += ["--data.batch_size=2", "--data.workers=1", "--model.warmup=1", "--model.learning_rate=0.05"]
    assert main(words) == 0
    videos = []
    for more in (["--adapter", "runs/lora/version_0/adapter"], []):
        assert main([*generation, *more]) == 0
        videos.append((tmp_path / "out.mp4").read_bytes())
    assert videos[0] != videos[1]


def test_generate_performs_with_a_checkpoint(generation, tmp_path):
    """As with what is exported of it, and unlike the weights that ship."""
    checkpoint(tmp_path / "a.ckpt")
    assert main(["weights", "export", str(tmp_path / "a.ckpt"), str(tmp_path / "folder")]) == 0
    videos = []
    for words in (["--model", str(tmp_path / "a.ckpt")], ["--model", str(tmp_path / "folder")], []):
        assert main([*generation, *words]) == 0
        videos.append((tmp_path / "out.mp4").read_bytes())
    assert videos[0] == videos[1] != videos[2]
    with av.open(str(tmp_path / "out.mp4")) as video:
        assert {stream.type for stream in video.streams} == {"video", "audio"}


def test_generate_takes_an_adapter(generation, tmp_path, capsys):
    checkpoint(tmp_path / "a.ckpt", LORA, start="lpm.sample.base_puppet")
    assert main(["weights", "export", str(tmp_path / "a.ckpt"), str(tmp_path / "adapter")]) == 0
    assert main([*generation, "--adapter", str(tmp_path / "adapter")]) == 0
    with_adapter = (tmp_path / "out.mp4").read_bytes()
    assert main(generation) == 0
    assert (tmp_path / "out.mp4").read_bytes() != with_adapter
    capsys.readouterr()
    assert main([*generation, "--adapter", str(tmp_path)]) == 2
    assert "holds no adapter_config.json" in capsys.readouterr().err


def test_the_text_video_path_goes_to_diffusers(tmp_path, capsys):
    diffusers = pytest.importorskip("diffusers")
    model = checkpoint(tmp_path / "a.ckpt", velocity=True)
    assert main(["weights", "export", str(tmp_path / "a.ckpt"), str(tmp_path / "out"), "--form", "diffusers"]) == 0
    shown = capsys.readouterr().out
    for row in ("text-to-video path", "audio paths", "null tokens", "reference pictures"):
        assert row in shown
    theirs = diffusers.WanTransformer3DModel.from_pretrained(tmp_path / "out" / "transformer")
    generator = torch.Generator().manual_seed(1)
    latents, text = torch.randn(1, 3, 32, 4, 4, generator=generator), torch.randn(1, 5, 128, generator=generator)
    with torch.no_grad():
        made = theirs(latents.transpose(1, 2), torch.tensor([500.0]), text).sample.transpose(1, 2)
    truth = run(model.backbone.zero_audio_())
    assert truth.std() > 0.1
    torch.testing.assert_close(made, truth, atol=1e-5, rtol=0)


def test_a_codec_is_exported_from_its_training(tmp_path):
    spec = {"class_path": "lpm.train.CodecTraining", "init_args": {}}
    module = build(spec)
    torch.save({"state_dict": module.state_dict(), "spec": spec}, tmp_path / "codec.ckpt")
    assert main(["weights", "export", str(tmp_path / "codec.ckpt"), str(tmp_path / "out")]) == 0
    loaded = TinyCodec.from_pretrained(tmp_path / "out").state_dict()
    assert all(torch.equal(value, loaded[name]) for name, value in module.codec.state_dict().items())


def student(path, stage, seed):
    """A checkpoint as a stage of distillation writes it: the average among the weights, the student beside them."""
    model = model_spec()
    model["init_args"]["backbone"] = {
        "class_path": "lpm.backbone.CausalDiT",
        "init_args": {"network": model["init_args"]["backbone"], "chunk": 6, "sink": 2, "window": 1},
    }
    parts = {name: model["init_args"][name] for name in ("prediction", "coordinates")}
    matching = {"class_path": "lpm.objective.FlowMatching", "init_args": parts}
    dmd = {"class_path": "lpm.distill.DMD", "init_args": {"matching": matching}}
    init = {"model": model, "stage": stage, "dmd": dmd, "start": "runs/online/ode/last.ckpt", "teacher": None}
    spec = {"class_path": "lpm.train.DistributionTraining", "init_args": init}
    module, averages = build(spec), StudentAverage(0.5)
    torch.manual_seed(seed)
    averages.average = {name: x + 0.02 * torch.randn_like(x) for name, x in trained(module).items()}
    content = {"state_dict": module.state_dict() | {"fake.head.weight": torch.zeros(1)}, "spec": spec}
    averages.on_save_checkpoint(None, module, content)
    torch.save(content, path)
    for name, parameter in trained(module).items():
        parameter.data = averages.average[name].data
    return module.model.eval()


STEPS = {"class_path": "lpm.sample.backbone_steps"}
ON_POLICY = {"class_path": "lpm.distill.OnPolicy", "init_args": {"steps": STEPS}}
REFINE = {
    "class_path": "lpm.distill.Refine",
    "init_args": {
        "steps": {"class_path": "lpm.sample.refiner_steps"},
        "backbone_steps": STEPS,
        "backbone": "runs/online/on_policy/last.ckpt",
    },
}


def streamed(model, refiner):
    sampler = StreamSampler(model, refiner)
    picture = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(3)) * 2 - 1
    session = sampler.open(Opening(picture, None, ["calm"]))
    for ear in (session.speak, session.listen):
        ear.push(0.1 * torch.randn(1, 40_000, generator=torch.Generator().manual_seed(4)))
    made = torch.cat([piece.video_BTCHW for piece in sampler.advance(session)], dim=1)
    assert made.shape[1] == 49
    return made


def test_the_online_pair_is_exported_as_averaged_and_streams_alike(tmp_path):
    backbone, refiner = student(tmp_path / "3.ckpt", ON_POLICY, 1), student(tmp_path / "4.ckpt", REFINE, 2)
    for stage in ("3", "4"):
        source, output = str(tmp_path / f"{stage}.ckpt"), tmp_path / stage
        assert main(["weights", "export", source, str(output)]) == 0
        assert main(["weights", "export", source, f"{output}-half", "--half=true"]) == 0
        assert "/runs" not in (output / "config.json").read_text() and (output / "README.md").is_file()
        sizes = [(tmp_path / name / "model.safetensors").stat().st_size for name in (stage, f"{stage}-half")]
        assert sizes[0] < 16e6 and sizes[1] < 0.55 * sizes[0]
    expected = streamed(backbone, refiner.backbone)
    assert torch.equal(streamed(load_model(tmp_path / "3"), load_model(tmp_path / "4").backbone), expected)
    half = streamed(load_model(tmp_path / "3-half"), load_model(tmp_path / "4-half").backbone)
    assert 0 < (half - expected).abs().mean() < 0.01 * (streamed(backbone, None) - expected).abs().mean() + 1e-3
    assert (load_model(tmp_path / "3").backbone.sink, load_model(tmp_path / "4").backbone.window) == (2, 1)


def test_what_cannot_be_exported_is_one_line(tmp_path, capsys):
    checkpoint(tmp_path / "a.ckpt")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("")
    cases = [
        (["a.ckpt", "full"], "exists and is not empty"),
        (["none.ckpt", "out"], "none.ckpt is missing"),
        (["none", "out"], "is no folder; give one"),
        (["a.ckpt", "out", "--form", "adapter"], "the model has no adapter"),
        (["a.ckpt", "out", "--form", "diffusers"], "diffusers reads Wan2.1 as PredictVelocity in Absolute ones"),
        (["a.ckpt", "out", "--figures", "nowhere.json"], "figures nowhere.json cannot be read"),
    ]
    for (source, output, *words), message in cases:
        assert main(["weights", "export", str(tmp_path / source), str(tmp_path / output), *words]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert message in line
        assert not (tmp_path / "out").exists()
