"""``lightning predict``: requests in, videos with sound out."""

from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from PIL import Image

from bad_input import error_line, float_wav
from lpm.cli import lightning_main, main
from lpm.data import EXPRESSIONS, read_video, wav_bytes
from lpm.sample import GuidanceInterval, base_puppet
from lpm.sample.pretrained import own_weights
from lpm.train import BasePrediction, Request, Requests, WriteVideos
from lpm.train.generate import generate
from lpm.train.predict import within
from lpm.train.request import read_picture, sound_of, to_batch
from lpm.types import REFERENCE_KINDS, Prompt

RECIPE = Path(__file__).parents[2] / "recipes/predict.yaml"


@pytest.fixture
def request_(tmp_path):
    Image.new("RGB", (40, 30), (200, 150, 120)).save(tmp_path / "face.png")
    voice = np.sin(np.arange(24_000) / 20).astype(np.float32) / 2
    (tmp_path / "voice.wav").write_bytes(wav_bytes(voice))
    return Request(tmp_path / "face.png", tmp_path / "out.mp4", speak=tmp_path / "voice.wav", text="calm")


def predict(requests: list[Request], folder: Path, model, **settings) -> None:
    module = BasePrediction(steps=1, chunk=8, **settings)
    module.model = model
    trainer = Trainer(
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[WriteVideos()],
        default_root_dir=folder,
    )
    trainer.predict(module, datamodule=Requests(requests, size=32), return_predictions=False)


def streams(path: Path) -> set[str]:
    with av.open(str(path)) as video:
        return {stream.type for stream in video.streams}


def test_a_request_becomes_an_mp4_with_sound_of_its_length(request_, model, tmp_path):
    predict([request_], tmp_path, model)
    assert streams(tmp_path / "out.mp4") == {"video", "audio"}
    assert len(read_video(tmp_path / "out.mp4")[0]) == 37  # 1.5 s at 24 frames a second, 1 + 4k


def test_the_recipe_performs_as_generate_does(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (40, 30), (200, 150, 120)).save("portrait.png")
    Path("voice.wav").write_bytes(wav_bytes(np.sin(np.arange(3_200) / 20).astype(np.float32) / 2))
    assert lightning_main(["predict", "--config", str(RECIPE), "--trainer.accelerator=cpu", "--data.size=32"]) == 0
    words = ["generate", "portrait.png", "same.mp4", "--speak", "voice.wav", "--size", "32"]
    assert main([*words, "--text", "A calm character speaks English."]) == 0
    assert streams(Path("hello.mp4")) == {"video", "audio"}
    assert Path("hello.mp4").read_bytes() == Path("same.mp4").read_bytes()


def test_a_video_is_written_while_it_is_made(request_, model, tmp_path, monkeypatch):
    """When the encoder gets frame 9, the network has made 2 chunks of 5."""
    calls, seen, forward = [], [], model.backbone.forward
    monkeypatch.setattr(model.backbone, "forward", lambda *given: calls.append(given) or forward(*given))

    def spy(path, frames, fps, audio):
        for frame in frames:
            seen.append((frame.shape, len(calls)))

    monkeypatch.setattr("lpm.train.predict.write_video", spy)
    predict([request_], tmp_path, model)
    assert [made for _, made in seen] == [0, *np.repeat([1, 2, 3, 4, 5], 8)[:36]]
    assert {shape for shape, _ in seen} == {(32, 32, 3)}


def test_every_setting_of_a_request_reaches_the_model(request_, model, tmp_path, monkeypatch):
    given, perform = {}, model.perform_chunks

    def spy(batch, **settings):
        given.update(settings, batch=batch)
        return perform(batch, **settings)

    monkeypatch.setattr(model, "perform_chunks", spy)
    schedule = GuidanceInterval(0.1, 1.0)
    asked = replace(request_, negative="loud", prompts=[Prompt(0.5, "laughs")])
    predict([asked], tmp_path, model, guidance={"text": 2.0}, overlap=1, schedule=schedule)
    assert (given["scales"], given["overlap"], given["schedule"]) == ({"text": 2.0}, 1, schedule)
    assert (given["batch"].negative, given["batch"].prompts) == (["loud"], [[Prompt(0.5, "laughs")]])
    assert (tmp_path / "out.mp4").exists()


def test_pieces_are_made_inside_the_precision_of_the_trainer():
    inside = []

    @contextmanager
    def context():
        inside.append(True)
        yield
        inside.pop()

    def pieces():
        for _ in range(2):
            yield bool(inside)

    assert [(piece, bool(inside)) for piece in within(context, pieces())] == [(True, False)] * 2


def test_generate_writes_a_long_video_with_a_timeline(request_, model, tmp_path, monkeypatch):
    monkeypatch.setattr("lpm.train.checkpoint.base_puppet", lambda: model)
    (tmp_path / "day.json").write_text('[{"start": 0.5, "text": "laughs"}]')
    generate(
        request_.image,
        tmp_path / "out.mp4",
        speak=request_.speak,
        text="calm",
        negative="loud",
        prompts=tmp_path / "day.json",
        size=32,
        steps=1,
        chunk=8,
        overlap=1,
        guidance={"text": 2.0},
        schedule=GuidanceInterval(),
    )
    assert len(read_video(tmp_path / "out.mp4")[0]) == 37
    assert streams(tmp_path / "out.mp4") == {"video", "audio"}


def test_generate_sees_references_and_hears_the_partner(request_, model, tmp_path, monkeypatch):
    seen, perform = [], model.perform_chunks

    def spy(batch, *rest, **settings):
        seen.append(batch)
        return perform(batch, *rest, **settings)

    monkeypatch.setattr(model, "perform_chunks", spy)
    monkeypatch.setattr("lpm.train.checkpoint.base_puppet", lambda: model)
    Image.new("RGB", (32, 32), (0, 0, 255)).save(tmp_path / "side.png")
    words = ["generate", str(request_.image), str(tmp_path / "out.mp4"), "--listen", str(request_.speak)]
    words += ["--references", f"body.left={tmp_path / 'side.png'}", f"expression.happy={request_.image}"]
    assert main([*words, "--size", "32", "--steps", "1"]) == 0
    (batch,) = seen
    assert [REFERENCE_KINDS[kind] for kind in batch.references.kind_BR[0]] == ["global", "body", "expression"]
    assert batch.references.pixels_BRCHW[0, 1].mean((1, 2)).tolist() == pytest.approx([-1, -1, 1])
    assert batch.listen_BS.any() and not batch.speak_BS.any()
    assert streams(tmp_path / "out.mp4") == {"video", "audio"}


def test_a_negative_prompt_without_guidance_of_text_leaves_nothing(request_, model, tmp_path, monkeypatch):
    monkeypatch.setattr("lpm.train.checkpoint.base_puppet", lambda: model)
    with pytest.raises(ValueError, match="give text a scale"):
        generate(request_.image, tmp_path / "out.mp4", speak=request_.speak, negative="loud", size=32)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["face.png", "voice.wav"]


def test_a_bad_request_stops_all_before_the_first_video(request_, model, tmp_path):
    bad = Request(tmp_path / "none.png", tmp_path / "second.mp4", speak=request_.speak)
    with pytest.raises(ValueError, match=r"none\.png is missing"):
        predict([request_, bad], tmp_path, model)
    assert not (tmp_path / "out.mp4").exists()


def test_the_sound_is_both_voices_from_the_first_frame_on(request_):
    batch = to_batch(request_, 32, 24.0)
    batch.listen_BS = torch.full_like(batch.speak_BS, 0.75)
    sound = sound_of(batch)
    first = round(batch.history * 16_000)
    assert len(sound) == round(37 / 24 * 16_000)
    assert np.abs(sound).max() <= 1
    np.testing.assert_allclose(sound[:100], (batch.speak_BS[0, first : first + 100] + 0.75).clamp(-1, 1))


def test_nothing_to_do_is_refused():
    with pytest.raises(ValueError, match="no requests"):
        Requests([])


def test_the_shipped_weights_load_and_fit_their_spec():
    model = base_puppet()
    assert not model.training
    assert sum(tensor.numel() * tensor.element_size() for tensor in own_weights(model).values()) <= 16 * 2**20


TWICE = ",".join(f"expression.{name}=face.png" for name in [*EXPRESSIONS, "happy"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--speak=none.wav"], "none.wav"),
        (["--speak=broken.wav"], "broken.wav"),
        (["--speak=nan.wav"], "8000 NaN or infinite"),
        (["--speak=voice.wav", "--fps=0"], "fps of 0.0 is not positive"),
        (["--speak=voice.wav", "--fps=0", "--prompts=day.yaml"], "fps of 0.0 is not positive"),
        (["--speak=voice.wav", "--fps=.inf"], "fps of inf is not positive and finite"),
        (["--seconds=.inf"], "seconds of inf is not finite; choose a length such as 10"),
        (["--seconds=.nan"], "seconds of nan is not finite"),
        (["--speak=voice.wav", "--references=[global=none.png]"], "none.png is missing"),
        (["--speak=voice.wav", f"--references=[{TWICE}]"], "9 expression references are above the limit of 8"),
        (["--speak=voice.wav", f"--text={'nods ' * 2000}"], "text of 10000 bytes is above the limit of 512"),
        (["--speak=voice.wav", "--size=33"], "size of 33 does not divide by 16"),
        ([], "nothing to perform"),
    ],
)
def test_bad_input_of_generate_is_one_line_and_leaves_nothing(request_, words, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("broken.wav").write_bytes(b"RIFF but no more")
    Path("day.yaml").write_text("[nods, laughs]")
    Path("nan.wav").write_bytes(float_wav(np.full(8000, np.nan)))
    before = sorted(path.name for path in tmp_path.iterdir())
    assert main(["generate", "face.png", "new.mp4", *words]) == 2
    assert message in error_line(capsys)
    assert sorted(path.name for path in tmp_path.iterdir()) == before


@pytest.mark.parametrize("kind", ["jpeg", "png"])
def test_a_photograph_stands_upright(tmp_path, kind):
    photograph = Image.new("RGB", (64, 32))
    photograph.paste((255, 255, 255), (0, 0, 32, 32))  # white on the left as it is stored
    exif = Image.Exif()
    exif[274] = 6  # the left of what is stored is the top of what is seen
    photograph.save(tmp_path / "turned", kind, exif=exif)
    seen = read_picture(tmp_path / "turned", 16)
    assert seen[:, :6].min() > 0.9 and seen[:, 10:].max() < -0.9
    photograph.save(tmp_path / "odd", kind, exif=b"no exif")
    assert read_picture(tmp_path / "odd", 16)[..., :6].min() > 0.9, "EXIF that is none turns nothing"


def test_a_folder_is_no_output_and_nothing_is_made(request_, model, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("lpm.train.generate.load_performer", lambda *_: pytest.fail("a model was loaded"))
    Path("films").mkdir()
    assert main(["generate", "face.png", "films", "--seconds=1"]) == 2
    assert "output films is a folder; name a file, such as films/video.mp4" in error_line(capsys)
    assert not list(Path("films").iterdir())


@pytest.mark.parametrize(
    ("picture", "seen"),
    [
        (Image.fromarray(np.full((32, 32), 25700, np.uint16)), 100),
        (Image.new("RGBA", (32, 32), (255, 0, 255, 0)), 255),
        (Image.new("RGBA", (32, 32), (100, 100, 100, 255)), 100),
        (Image.new("LA", (32, 32), (0, 51)), 204),
    ],
    ids=["16 bits", "transparent", "opaque", "grey, a fifth opaque"],
)
def test_pictures_of_any_depth_and_alpha_are_read_as_they_look(picture, seen, tmp_path):
    picture.save(tmp_path / "face.png")
    assert read_picture(tmp_path / "face.png", 16).unique().tolist() == pytest.approx([seen / 127.5 - 1], abs=1e-6)


@pytest.mark.parametrize(("name", "content"), [("face.png", None), ("face.png", b"no picture")])
def test_a_bad_picture_is_one_line(request_, name, content, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path(name).unlink()
    if content:
        Path(name).write_bytes(content)
    assert main(["generate", name, "new.mp4", "--seconds=1"]) == 2
    assert name in error_line(capsys)
    assert not list(tmp_path.glob("*.mp4"))
