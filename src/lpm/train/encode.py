"""Encode a corpus once: the codec's latents beside every sample, so that training never decodes a video."""

import hashlib
import io
import multiprocessing
import os
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock
from rich.progress import track
from torch import Tensor, nn

from lpm.data import (
    Counts,
    Sample,
    ShardWriter,
    apply,
    list_shards,
    read_meta,
    read_shard,
    read_video,
    valid,
    write_index,
)
from lpm.data.references import reference_pixels
from lpm.train.frames import to_pixels
from lpm.types import Codec


def codec_hash(codec: Codec) -> str:
    """Return a short hash of what makes latents: those of another encoder are of no use."""
    assert isinstance(codec, nn.Module)
    return tensors_hash({name: part for name, part in codec.state_dict().items() if not name.startswith("decoder.")})


def tensors_hash(tensors: Mapping[str, Tensor]) -> str:
    """Return a short hash of the names and values of tensors."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().float().contiguous().numpy().tobytes())
    return digest.hexdigest()[:12]


def npy(values: Tensor) -> bytes:
    """Return a tensor as the bytes of a float16 .npy file."""
    buffer = io.BytesIO()
    np.save(buffer, values.half().cpu().numpy())
    return buffer.getvalue()


@torch.no_grad()
def encode_sample(codec: Codec, sample: dict[str, bytes]) -> dict[str, bytes]:
    """Return a sample's latents: ``latent.npy`` the clip, ``still.npy`` each 4k-th frame alone, ``ref.npy`` the
    references in the order of ``json``, fitted into the size of the video.
    """
    assert isinstance(codec, nn.Module)
    device = next(codec.parameters()).device
    video_THWC, meta = read_video(sample["mp4"])[0], read_meta(sample)
    rows = range(len(meta.get("references", [])))
    pictures = reference_pixels({**sample, "json": meta}, rows, *video_THWC.shape[1:3])
    video = to_pixels(video_THWC).to(device)
    encoded = {
        "latent.npy": npy(codec.encode(video[None])[0]),
        "still.npy": npy(codec.encode_frames(video[:: codec.stride_t])),
    }
    if rows:
        stills = torch.stack([to_pixels(picture) for picture in pictures])
        encoded["ref.npy"] = npy(codec.encode_frames(stills.to(device)))
    return encoded


def encode_shard(codec: Codec, shard: Path, folder: Path, drop: bool = False) -> Counter[str]:
    """Write one shard with latents into ``folder`` under the same name, whole or not at all.

    Returns:
        How many samples were ``encoded``, and with ``drop``, how many were left out, by reason.

    Raises:
        ValueError: a sample cannot be encoded, unless it is to be dropped.
    """

    def encode(sample: Sample) -> Sample:
        try:
            return plain(sample) | encode_sample(codec, sample)
        except ValueError as error:
            if drop:
                raise
            raise ValueError(f"sample {sample['__key__']} of {shard}: {error}") from error

    counts = Counts()
    encoded = apply(valid(read_shard(shard), counts), encode, counts) if drop else map(encode, read_shard(shard))
    samples = write_shard(encoded, folder / shard.name)
    if not samples:
        (folder / shard.name).unlink(missing_ok=True)  # of a shard that was there before
    return Counter(encoded=samples) + counts.dropped


def plain(sample: Sample) -> Sample:
    """Return a sample's key and fields as stored, without what reading notes beside them."""
    return {name: value for name, value in sample.items() if name == "__key__" or not name.startswith("__")}


def write_shard(samples: Iterable[Sample], path: Path) -> int:
    """Write one shard, whole or not at all, in place of one of that name; return its samples, 0 for no shard."""
    work = path.parent / f".{path.stem}"
    shutil.rmtree(work, ignore_errors=True)  # what a killed run has left
    try:
        with ShardWriter(work, "part", samples_per_shard=1 << 30) as writer:
            for sample in samples:
                writer.write(sample)
        for made in writer.shards:
            Path(made.path).replace(path)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return sum(made.samples for made in writer.shards)


def encode_corpus(
    codec: Codec, shards: Path, folder: Path, workers: int | None = None, drop: bool = False
) -> Counter[str]:
    """Encode every shard that ``folder`` does not hold yet, or holds of an older file, with a progress bar.

    ``workers`` processes of one thread each share the shards, one per core if None; 1 is this process, on the codec's
    device. A second run that wants the same folder waits for the first, and then finds it finished.

    Args:
        codec: makes the latents.
        shards: folder to read.
        folder: folder to write, made if missing, and indexed.
        workers: processes.
        drop: leave out and count samples that cannot be encoded, instead of raising.

    Returns:
        How many samples were ``encoded`` now, and how many left out, by reason.
    """
    wanted = [Path(shard.path) for shard in list_shards(shards)]
    folder.mkdir(parents=True, exist_ok=True)
    counts: Counter[str] = Counter()
    with FileLock(folder / ".lock"):
        missing = [shard for shard in wanted if not is_newer(folder / shard.name, shard)]
        if not missing:
            return counts
        assert isinstance(codec, nn.Module)
        codec.eval()
        encoded = encode_shards(codec, missing, folder, min(workers or os.cpu_count() or 1, len(missing)), drop)
        for row in track(encoded, description="encoding the corpus", total=len(missing)):
            counts += row
        write_index(folder)
    return counts


def is_newer(made: Path, source: Path) -> bool:
    """Tell whether a file was made, and of the source as it is now."""
    return made.exists() and made.stat().st_mtime >= source.stat().st_mtime


def encode_shards(
    codec: Codec, shards: list[Path], folder: Path, workers: int, drop: bool = False
) -> Iterator[Counter[str]]:
    """Yield what became of the samples of each shard as it is done."""
    if workers == 1:
        yield from (encode_shard(codec, shard, folder, drop) for shard in shards)
        return
    fresh = multiprocessing.get_context("spawn")  # a forked child would inherit torch's thread pool in a bad state
    with ProcessPoolExecutor(workers, fresh, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        try:
            for job in as_completed([pool.submit(encode_shard, codec, shard, folder, drop) for shard in shards]):
                yield job.result()
        except ValueError as error:  # a bad clip; shards that others are encoding are finished and kept
            pool.shutdown(cancel_futures=True)
            raise ValueError(str(error)) from error
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
