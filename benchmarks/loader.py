"""Clips a second of ClipDataset against plain webdataset with the same cut and collate, as a ratio in one run.

    python benchmarks/loader.py --clips 64 --workers 0

Prints one JSON. ``ratio`` above 1 means that ours is faster; the difference is order, validation and bookkeeping.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from importlib.metadata import version
from itertools import islice

import numpy as np
import torch
import webdataset as wds
from PIL import Image

from lpm.data import (
    SCHEMA_VERSION,
    ClipDataset,
    Cut,
    Latents,
    MemoryClips,
    Pixels,
    ShardWriter,
    collate,
    encode_video,
    first_start,
    list_shards,
    loader,
    wav_bytes,
)
from lpm.types import Batch


def make_sample(number: int, frames: int, side: int, fps: float = 24.0) -> dict:
    """Smooth moving noise with two sound tracks, one reference and latents."""
    rng = np.random.default_rng(number)
    small = rng.integers(0, 255, (8, 8, 3), dtype=np.uint8)
    still = np.asarray(Image.fromarray(small).resize((side, side), Image.Resampling.BICUBIC))
    image = io.BytesIO()
    Image.fromarray(still).save(image, "png")
    latent = rng.standard_normal((1 + (frames - 1) // 4, 16, side // 8, side // 8)).astype(np.float16)
    sound = wav_bytes(rng.uniform(-0.5, 0.5, round(frames / fps * 16000)).astype(np.float32))
    meta = {"schema_version": SCHEMA_VERSION, "fps": fps, "frames": frames, "width": side, "height": side}
    meta |= {"states": [[0, frames, "speaking"]], "references": [{"file": "ref.00.png", "kind": "global"}]}
    return {
        "__key__": f"clip{number:05d}",
        "mp4": encode_video(np.stack([np.roll(still, index, 1) for index in range(frames)]), fps),
        "speak.wav": sound,
        "listen.wav": sound,
        "ref.00.png": image.getvalue(),
        "json": meta,
        "latent.npy": latent,
        "still.npy": latent,
        "ref.npy": latent[:1],
    }


def plain(folder: str, cut: Cut, batch_size: int) -> wds.WebDataset:
    """The pipeline a webdataset user would write."""
    rng = np.random.default_rng(0)
    paths = [shard.path for shard in list_shards(folder)]
    samples = wds.WebDataset(paths, shardshuffle=len(paths), seed=0, empty_check=False).shuffle(256).repeat()
    clips = samples.map(lambda sample: cut({**sample, "json": json.loads(sample["json"])}, rng))
    return clips.batched(batch_size, collation_fn=collate, partial=False)


def rate(make: Callable[[], Iterable[Batch]], batches: int, batch_size: int) -> float:
    """Clips a second after one batch of warming up."""
    stream = iter(make())
    next(stream)
    start = time.perf_counter()
    for _ in islice(stream, batches):
        pass
    return batches * batch_size / (time.perf_counter() - start)


def main() -> None:
    """Measure both in turn, ``repeats`` times, and print medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in {"clips": 64, "frames": 97, "window": 49, "side": 96, "batch": 4, "batches": 16}.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--workers", type=int, default=0, help="loader processes")
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        with ShardWriter(folder, "bench", samples_per_shard=16) as writer:
            for number in range(args.clips):
                writer.write(make_sample(number, args.frames, args.side))
        pixels = Cut(args.window, [Pixels()], history=1.0, start=first_start)  # equal windows, equal decoding
        latents = Cut(args.window, [Latents()], history=1.0)
        memory = MemoryClips(folder, latents, args.batch)
        contestants: dict[str, Callable[[], Iterable[Batch]]] = {
            "webdataset": lambda: loader(plain(folder, pixels, args.batch), args.workers),
            "ClipDataset": lambda: loader(ClipDataset(folder, pixels, args.batch), args.workers),
            "ClipDataset_latents": lambda: loader(ClipDataset(folder, latents, args.batch), args.workers),
            "MemoryClips_latents": lambda: loader(memory, args.workers),
        }
        runs: dict[str, list[float]] = {name: [] for name in contestants}
        for _ in range(args.repeats):  # in turn, so that a busy machine slows all alike
            for name, make in contestants.items():
                runs[name].append(rate(make, args.batches, args.batch))
    ratios = [ours / theirs for ours, theirs in zip(runs["ClipDataset"], runs["webdataset"])]
    report = {
        "benchmark": "loader",
        "settings": vars(args),
        "clips_per_second": {name: round(statistics.median(values), 1) for name, values in runs.items()},
        "ratio_to_webdataset": {"median": round(statistics.median(ratios), 3), "all": [round(x, 3) for x in ratios]},
        "hardware": {"machine": platform.machine(), "cores": os.cpu_count(), "threads_used": torch.get_num_threads()},
        "versions": {
            "python": platform.python_version(),
            **{n: version(n) for n in ("torch", "webdataset", "av", "numpy")},
        },
    }
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
