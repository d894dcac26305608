"""``lightning predict``: requests in, videos with sound out."""

from pathlib import Path

import av
import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from PIL import Image

from lpm.data import wav_bytes
from lpm.sample import base_puppet
from lpm.sample.pretrained import own_weights
from lpm.train import BasePrediction, Request, Requests, WriteVideos
from lpm.train.request import sound_of, to_batch


@pytest.fixture
def request_(tmp_path):
    Image.new("RGB", (40, 30), (200, 150, 120)).save(tmp_path / "face.png")
    voice = np.sin(np.arange(24_000) / 20).astype(np.float32) / 2
    (tmp_path / "voice.wav").write_bytes(wav_bytes(voice))
    return Request(tmp_path / "face.png", tmp_path / "out.mp4", speak=tmp_path / "voice.wav", text="calm")


def predict(requests: list[Request], folder: Path, model) -> None:
    module = BasePrediction(steps=1, chunk=8)
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


def test_a_request_becomes_an_mp4_with_sound_of_its_length(request_, model, tmp_path):
    predict([request_], tmp_path, model)
    with av.open(str(tmp_path / "out.mp4")) as video:
        assert {stream.type for stream in video.streams} == {"video", "audio"}
        assert sum(1 for _ in video.decode(video=0)) == 37  # 1.5 s at 24 frames a second, 1 + 4k


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
