"""Tiny samples and shards made on the spot; frame i of clip c is a bar at column 2 i over grey level 20 c."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lpm.data import BODY_VIEWS, EXPRESSIONS, SCHEMA_VERSION, ShardWriter, encode_video, wav_bytes

SIDE, LATENT = 32, (2, 4, 4)


def bars(frames, level=0):
    video = np.full((frames, SIDE, SIDE, 3), 20 * level, np.uint8)
    for index in range(frames):
        video[index, :, (2 * index) % SIDE] = 255
    return video


def png(level):
    buffer = io.BytesIO()
    Image.new("RGB", (SIDE, SIDE), (level, level, level)).save(buffer, "png")
    return buffer.getvalue()


def _make_sample(number=0, frames=17, fps=24.0):
    """A sample with every field; latents are numbered by their frame, so that a wrong cut shows."""
    seconds = np.arange(round(frames / fps * 16000)) / 16000
    latent_frames = 1 + (frames - 1) // 4
    order = np.arange(latent_frames, dtype=np.float16)[:, None, None, None] * np.ones(LATENT, np.float16)
    rows = [("global", ""), ("body", BODY_VIEWS[2]), ("expression", EXPRESSIONS[4])]
    return {
        "__key__": f"clip{number:03d}",
        "mp4": encode_video(bars(frames, number % 12), fps),
        "speak.wav": wav_bytes((0.5 * np.sin(2 * np.pi * 220 * seconds)).astype(np.float32)),
        "listen.wav": wav_bytes(np.full(len(seconds), 0.25, np.float32)),
        **{f"ref.{index:02d}.png": png(100 + index) for index in range(3)},
        "json": {
            "schema_version": SCHEMA_VERSION,
            "fps": fps,
            "frames": frames,
            "width": SIDE,
            "height": SIDE,
            "states": [[0, 5, "speaking"], [5, frames, "listening"]],
            "caption": f"clip {number}",
            "references": [
                {"file": f"ref.{index:02d}.png", "kind": kind, "sub_kind": sub}
                for index, (kind, sub) in enumerate(rows)
            ],
        },
        "truth.npz": {
            "controls": np.stack([np.arange(frames), np.full(frames, number)], 1).astype(np.float32),
            "names": np.array(["yaw", "smile"]),
        },
        "latent.npy": order,
        "still.npy": order + 100,
        "ref.npy": np.arange(3, dtype=np.float16)[:, None, None, None] * np.ones(LATENT, np.float16),
    }


@pytest.fixture(scope="session")
def make_sample():
    """The maker itself: ``make_sample(number, frames, fps)``."""
    return _make_sample


@pytest.fixture(scope="session")
def sample():
    return _make_sample()


@pytest.fixture(scope="session")
def shards(tmp_path_factory) -> Path:
    """Five shards, 13 samples."""
    folder = tmp_path_factory.mktemp("shards")
    with ShardWriter(folder, "train", samples_per_shard=3) as writer:
        for number in range(13):
            writer.write(_make_sample(number))
    return folder
