import numpy as np
import pytest
import torch

from lpm.codec import TinyCodec
from lpm.data import Cut, MemoryClips, Pixels, first_start, loader
from lpm.sample import PerformanceModel, load_performance, save_performance
from lpm.train.data import only_global
from lpm.train.generate import generate
from lpm.train.measure import SOURCES, hear, measure, measure_clips, summarise
from lpm.train.paired import paired_differences, paired_ratios
from lpm.train.request import frame_count, parse_reference


class Brightness:
    """A reader that takes the mean brightness for every signal."""

    def __init__(self, video):
        mean = video.reshape(len(video), -1).mean(1) / 255
        self.aperture = self.yaw = self.pitch = self.roll = self.smile = mean
        self.identity = np.stack([mean, 1 - mean], 1)
        self.background = np.stack([100 * mean, mean, mean], 1)
        self.valid = np.ones(len(video), bool)


@pytest.fixture
def clips(corpus):
    cut = Cut(33, [Pixels()], history=0.3, lookahead=0.1, start=first_start, references=only_global)
    return loader(MemoryClips(corpus / "shards", cut, batch_size=4, shuffle=False, repeat=False))


def test_performing_begins_with_the_first_frame_and_reads_no_later_one(model, clips):
    batch = next(iter(clips))
    made = model.perform(batch, steps=1, chunk=8, generator=torch.Generator().manual_seed(0))
    assert made.shape == batch.video_BTCHW.shape
    assert torch.equal(made[:, :1], model.codec.decode(model.codec.encode(batch.video_BTCHW[:, :1])).clamp(-1, 1))
    batch.video_BTCHW[:, 1:] = 0
    again = model.perform(batch, steps=1, chunk=8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(made, again)


def test_every_chunk_hears_its_own_time_and_sees_the_first_picture(model, clips, monkeypatch):
    batch, calls = next(iter(clips)), []

    class Spy(torch.nn.Module):
        def forward(self, noisy, t, conditions, fps):
            calls.append((noisy, t, conditions.speak.start))
            return torch.zeros_like(noisy)

    monkeypatch.setattr(model, "backbone", Spy())
    whole = model.perform(batch, steps=1, chunk=12, history=2)
    assert [(t == 0).sum(1)[0].item() for _, t, _ in calls] == [1, 3, 3]
    assert [noisy.shape[1] for noisy, _, _ in calls] == [4, 6, 5]
    starts = [-batch.history - 4 * frames / batch.fps for frames in (0, 3 - 2, 6 - 2)]
    assert [start for _, _, start in calls] == pytest.approx(starts)
    first = model.codec.encode_frames(batch.video_BTCHW[:, 0])
    assert all(torch.equal(noisy[:, 0], first) for noisy, _, _ in calls)
    assert whole.shape == batch.video_BTCHW.shape


def test_references_are_encoded_once_for_all_chunks(model, clips, monkeypatch):
    batch, encoded, seen = next(iter(clips)), [], []
    encode = model.codec.encode

    class Spy(torch.nn.Module):
        def forward(self, noisy, t, conditions, fps):
            seen.append(conditions.references.latents_BRCYX)
            return torch.zeros_like(noisy)

    monkeypatch.setattr(model.codec, "encode", lambda video: encoded.append(video.shape) or encode(video))
    monkeypatch.setattr(model, "backbone", Spy())
    model.perform(batch, steps=2, chunk=8)
    assert encoded == [(len(batch.keys) * batch.references.mask_BR.shape[1], 1, 3, 32, 32)]
    assert len(seen) == 8 and all(latents is seen[0] for latents in seen)


def test_a_report_has_every_source_with_its_interval(model, clips):
    for parameter in model.backbone.parameters():  # a head of zeros would make a still picture from any sound
        torch.nn.init.normal_(parameter, std=0.1)
    report = measure(model, clips, Brightness, steps=1, chunk=16).as_dict()
    assert report["seconds"] == pytest.approx(report["clips"] * 33 / 24)
    for by in report["scores"].values():
        assert list(by) == list(SOURCES)
        assert all(score["low"] <= score["value"] <= score["high"] for score in by.values())
    assert len({score["value"] for score in report["scores"]["colour_drift"].values()}) == len(SOURCES)


def test_a_control_never_hears_its_own_voice(clips):
    """Rows hear the row before; a voice that is the only one of its batch comes half a clip late, as much of it."""
    batch = next(iter(clips))
    batch.listen_BS[1:] = 0
    other = hear(batch, "shuffled")
    assert torch.equal(other.speak_BS, batch.speak_BS.roll(1, dims=0))
    assert torch.equal(other.listen_BS, batch.listen_BS.roll(batch.listen_BS.shape[1] // 2, dims=1))
    assert not torch.equal(other.listen_BS, batch.listen_BS)


def test_an_unknown_source_is_refused(model, clips):
    with pytest.raises(ValueError, match="source 'nobody' is unknown; choose from codec, generated"):
        measure(model, clips, Brightness, sources=("nobody",), steps=1, chunk=16)


def test_any_performer_is_measured_and_compared_on_the_same_clips(clips):
    shades = torch.tensor([0.0, 0.1, 0.2, 0.2, 0.3, 0.5, 0.6, 0.8, 0.9]).repeat(4)[:33]

    def bright(batch, factor=1.0):
        return (factor * shades)[None, :, None, None, None].expand(batch.video_BTCHW.shape)

    measured = measure_clips({"whole": bright, "half": lambda batch: bright(batch, 0.5)}, clips, Brightness)
    scores = summarise(measured).scores
    assert scores.keys() >= {"lip_correlation", "listening_speed", "colour_drift", "sharpness_drift", "reaction_z"}
    assert all(list(by) == ["whole", "half"] for by in scores.values())
    ratios = paired_ratios(measured, "half", "whole")
    assert float(ratios["listening_speed"].value) == pytest.approx(0.5, abs=0.02)
    assert int(ratios["listening_speed"].n) == len(measured) == sum(len(batch.keys) for batch in clips)
    gap = paired_differences(measured, "half", "whole")
    assert float(gap["lip_correlation"].value) == pytest.approx(0, abs=0.01)
    assert "reaction_z" not in gap and "identity_verified" in gap
    for name in ("identity_distance", "head_energy_ratio"):
        wanted = float(scores[name]["half"].value - scores[name]["whole"].value)
        assert float(gap[name].value) == pytest.approx(wanted) and abs(wanted) > 0.01
    same = paired_differences(measured, "whole", "whole")["colour_drift"]
    assert (float(same.low), float(same.high)) == (0, 0)


def test_no_clip_is_refused():
    with pytest.raises(ValueError, match="no clip to measure"):
        summarise([])


def test_saved_weights_perform_alike(model, clips, tmp_path, monkeypatch):
    monkeypatch.setattr("lpm.codec.tiny_codec", lambda: model.codec)
    parts = {"width": 16}
    spec = {
        "class_path": "lpm.sample.PerformanceModel",
        "init_args": {
            "backbone": {
                "class_path": "lpm.backbone.puppet",
                "init_args": {"width": 32, "depth": 2, "heads": 2, "audio_width": 16, "text_width": 16},
            },
            "codec": {"class_path": "lpm.codec.TinyCodec", "init_args": {"width": 16, "blocks": 1}},
            "text": {"class_path": "lpm.condition.ByteText", "init_args": parts},
            "speak": {"class_path": "lpm.condition.LogMelEncoder", "init_args": {**parts, "rate": 50.0, "mels": 16}},
            "listen": {"class_path": "lpm.condition.LogMelEncoder", "init_args": {**parts, "rate": 12.5, "mels": 16}},
            "prediction": {"class_path": "lpm.flow.PredictClean"},
            "coordinates": {"class_path": "lpm.flow.Residual"},
        },
    }
    save_performance(model, spec, tmp_path)
    loaded = load_performance(tmp_path)
    assert isinstance(loaded, PerformanceModel)
    loaded.codec = model.codec
    batch = next(iter(clips))
    a, b = (
        m.perform(batch, frames=9, steps=1, chunk=8, generator=torch.Generator().manual_seed(0))
        for m in (model, loaded)
    )
    assert torch.equal(a, b)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(ValueError, match=r"holds no model\.safetensors"):
        load_performance(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": 50}, "does not divide by 16"),
        ({"speak": "missing.wav"}, "missing"),
        ({"image": "missing.png"}, "missing"),
        ({"references": ["expression.silly=a.png"]}, "not KIND=FILE"),
        ({"speak": None}, "nothing to perform"),
    ],
)
def test_bad_input_is_refused_and_leaves_nothing(tmp_path, change, message):
    from pathlib import Path

    from PIL import Image

    from lpm.data import wav_bytes

    Image.new("RGB", (40, 30)).save(tmp_path / "face.png")
    (tmp_path / "voice.wav").write_bytes(wav_bytes(np.zeros(8000, np.float32)))
    given = {
        "model": tmp_path / "none.ckpt",
        "image": tmp_path / "face.png",
        "output": tmp_path / "out.mp4",
        "speak": tmp_path / "voice.wav",
        **change,
    }
    given = {name: Path(value) if isinstance(value, str) else value for name, value in given.items()}
    with pytest.raises(ValueError, match=message):
        generate(**given)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["face.png", "voice.wav"]


def test_frame_count_is_whole_latent_frames():
    assert [frame_count(s, 0.0, 24.0) for s in (0.1, 1.0, 1.1)] == [5, 25, 29]
    assert parse_reference("global=a.png")[0] == "global"
    assert TinyCodec.stride_t == 4
