"""A tiny model and a tiny encoded corpus: 32 x 32 pixels, random codec."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from lpm.backbone import puppet
from lpm.codec import TinyCodec
from lpm.condition import ByteText, LogMelEncoder
from lpm.data import SCHEMA_VERSION, ShardWriter, encode_video, wav_bytes
from lpm.flow import PredictClean, Residual
from lpm.sample import PerformanceModel

SIDE, FRAMES = 32, 33


def make_sample(number: int, frames: int = FRAMES) -> dict:
    rng = np.random.default_rng(number)
    video = np.full((frames, SIDE, SIDE, 3), 40 + 10 * number, np.uint8)
    for index in range(frames):
        video[index, 10:20, (index + number) % SIDE] = 255
    picture = io.BytesIO()
    Image.fromarray(video[3]).save(picture, "png")
    truth = io.BytesIO()
    names = np.array(["aperture", "yaw", "pitch", "roll", "width", "round", "tongue"])
    controls = rng.random((frames, len(names))).astype(np.float32)
    np.savez(truth, controls=controls, names=names)
    voice = (0.1 * rng.standard_normal(frames * 16000 // 24)).astype(np.float32)
    return {
        "__key__": f"clip{number:03d}",
        "mp4": encode_video(video, 24.0),
        "speak.wav": wav_bytes(voice),
        "listen.wav": wav_bytes(voice[::-1]),
        "ref.00.png": picture.getvalue(),
        "truth.npz": truth.getvalue(),
        "json": {
            "schema_version": SCHEMA_VERSION,
            "fps": 24.0,
            "frames": frames,
            "width": SIDE,
            "height": SIDE,
            "states": [[0, 20, "speaking"], [20, frames, "listening"]],
            "caption": f"clip {number}",
            "identity": f"S{number % 3}",
            "references": [{"file": "ref.00.png", "kind": "global", "sub_kind": ""}],
            "events": [{"t": 0.9, "type": "phrase_end", "who": "partner"}],
        },
    }


@pytest.fixture
def sample_of():
    """What makes a sample of its number."""
    return make_sample


@pytest.fixture(scope="session")
def corpus(tmp_path_factory):
    """A folder with shards of every split."""
    folder = tmp_path_factory.mktemp("corpus") / "shards"
    for split, numbers in {"train": range(6), "seen": range(6, 8), "val": range(8, 10), "test": range(10, 12)}.items():
        with ShardWriter(folder, split, samples_per_shard=4) as writer:
            for number in numbers:
                writer.write(make_sample(number))
    return folder.parent


@pytest.fixture(scope="session")
def codec():
    torch.manual_seed(0)
    return TinyCodec(width=16, blocks=1).eval()


@pytest.fixture
def model(codec):
    torch.manual_seed(0)
    return PerformanceModel(
        puppet(width=32, depth=2, heads=2, audio_width=16, text_width=16),
        codec,
        ByteText(16),
        LogMelEncoder(16, 50.0, mels=16),
        LogMelEncoder(16, 12.5, mels=16),
        PredictClean(),
        Residual(1.0),
    )
