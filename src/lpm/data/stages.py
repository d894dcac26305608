"""Stages: generators from samples to samples; what a stage drops, it counts with the reason."""

from __future__ import annotations

import io
import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any

import numpy as np
from PIL import Image

from lpm.data.audio import read_audio, to_int16
from lpm.data.order import Place
from lpm.data.rgb import to_rgb
from lpm.data.schema import Sample, SchemaError, read_meta, validate
from lpm.data.shards import Shard, read_shard
from lpm.data.video import read_video

log = logging.getLogger(__name__)


class Counts:
    """How many samples were dropped, by reason; the first of each reason is logged in full."""

    def __init__(self) -> None:
        self.dropped: Counter[str] = Counter()
        self._logged: set[str] = set()

    def drop(self, reason: str, message: str) -> None:
        """Count one dropped sample."""
        if reason not in self._logged:
            log.warning("dropped (%s): %s", reason, message)
            self._logged.add(reason)
        self.dropped[reason] += 1

    def take(self) -> Counter[str]:
        """Return the counts so far and start again from zero; what was logged is not logged again."""
        taken, self.dropped = self.dropped, Counter()
        return taken

    def __str__(self) -> str:
        return ", ".join(f"{number} {reason}" for reason, number in self.dropped.most_common()) or "none"


def read_places(shards: Sequence[Shard], reading: Sequence[Place], wanted: Sequence[Place]) -> Iterator[Sample]:
    """Yield the samples ``wanted``, in that order, from shards streamed once in the order ``reading``.

    Shards without a wanted sample are never opened; read samples wait, undecoded, until their turn.
    """
    left = set(wanted)
    stream = _stream(shards, [place for place in reading if place in left])
    waiting: dict[Place, Sample] = {}
    for place in wanted:
        while place not in waiting:
            waiting.update([next(stream)])
        yield waiting.pop(place)


def valid(samples: Iterable[Sample], counts: Counts) -> Iterator[Sample]:
    """Parse ``json`` and pass on what keeps the schema."""
    for sample in samples:
        try:
            sample = {**sample, "json": read_meta(sample)} if "json" in sample else sample
            validate(sample)
        except SchemaError as error:
            counts.drop(error.reason, str(error))
        else:
            yield sample


def apply(samples: Iterable[Sample], change: Callable[[Sample], Any], counts: Counts) -> Iterator[Any]:
    """Yield ``change(sample)``; a ValueError drops the sample, counted under its ``reason`` or ``unreadable``."""
    for sample in samples:
        try:
            changed = change(sample)
        except ValueError as error:
            counts.drop(getattr(error, "reason", "unreadable"), f"sample {sample['__key__']}: {error}")
        else:
            yield changed


def decode_fields(sample: Sample, keep: Collection[str] = ("wav", "npy", "npz", "png")) -> Sample:
    """Decode the fields whose last name is in ``keep``, leave out all others; sound stays int16 to save memory."""
    decoded = {name: decode(sample, name) for name in sample if name.rpartition(".")[2] in keep}
    sound = {name: to_int16(value) for name, value in decoded.items() if name.endswith("wav")}
    return {"__key__": sample["__key__"], "json": sample["json"], **decoded, **sound}


def decode(sample: Sample, name: str) -> Any:
    """Return field ``name`` as array (wav, npy, png: RGB uint8) or dict of arrays (npz), decoded before or not."""
    value = sample[name]
    if not isinstance(value, bytes) or name.endswith("mp4"):  # video is decoded by the window, never whole
        return value
    try:
        if name.endswith("wav"):
            return read_audio(value)
        if name.endswith("png"):
            return np.asarray(to_rgb(Image.open(io.BytesIO(value))))
        loaded = np.load(io.BytesIO(value))
        return loaded if isinstance(loaded, np.ndarray) else dict(loaded)
    except Exception as error:  # damaged bytes make NumPy, zipfile, zlib and Pillow raise a dozen types
        reason = str(error) or type(error).__name__
        raise SchemaError(f"corrupt {_family(name)}", f"{name}: {reason}; write it again") from error


def check_media(sample: Sample) -> None:
    """Decode everything a valid sample holds and compare it with ``json``; raises SchemaError. Slow and thorough."""
    meta = read_meta(sample)
    try:
        frames, fps = read_video(sample["mp4"])
    except ValueError as error:
        reason = getattr(error, "reason", "corrupt mp4")
        raise SchemaError(reason, f"sample {sample['__key__']}: mp4: {error}") from error
    found = (*frames.shape[:3], round(fps, 3))
    told = (meta["frames"], meta["height"], meta["width"], round(meta["fps"], 3))
    if found != told:
        raise SchemaError(
            "mp4 differs", f"sample {sample['__key__']}: mp4 has (frames, height, width, fps) {found}, json says {told}"
        )
    decode_fields(sample)


def _family(name: str) -> str:
    return "reference" if name.startswith("ref.") else name


def _stream(shards: Sequence[Shard], reading: Sequence[Place]) -> Iterator[tuple[Place, Sample]]:
    for number, places in groupby(reading, key=lambda place: place.shard):
        rows = {place.row for place in places}
        last, row = max(rows), -1
        for row, sample in enumerate(read_shard(shards[number].path)):
            if row in rows:
                yield Place(number, row), sample
            if row == last:
                break
        if row < last:
            shard = shards[number]
            raise ValueError(
                f"shard {shard.path} holds {row + 1} samples, its index says {shard.samples}; rebuild the index"
            )
