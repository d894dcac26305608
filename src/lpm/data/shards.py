"""Tar shards on disk: written whole or not at all, counted in ``index.json``, read through webdataset."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import tarfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from webdataset.tariterators import group_by_keys, tar_file_iterator
from webdataset.writer import TarWriter

from lpm.data.schema import Sample, validate

INDEX = "index.json"


@dataclass(frozen=True)
class Shard:
    """One tar file: ``samples`` and ``bytes`` it holds, and the ``sha256`` of its content."""

    path: str
    samples: int
    bytes: int
    sha256: str


class ShardWriter:
    """Writes validated samples into ``{prefix}-000000.tar``, ... under ``folder``; equal samples give equal bytes.

    A shard appears under its name only when it is complete; on an error the unfinished one is deleted. Shards of an
    earlier writer are never replaced, since fewer new ones would leave the last old ones, and their samples twice.

    Args:
        folder: made if missing; several writers may share it when their prefixes differ.
        prefix: first part of the shard names.
        samples_per_shard: samples after which the next shard begins.

    Raises:
        ValueError: the folder holds shards of this prefix.

    >>> import tempfile; from lpm.data.video import encode_video
    >>> meta = {"schema_version": "1.0", "fps": 24.0, "frames": 5, "width": 16, "height": 16}
    >>> meta["states"] = [[0, 5, "idle"]]
    >>> clip = encode_video(np.zeros((5, 16, 16, 3), np.uint8), 24.0)
    >>> with tempfile.TemporaryDirectory() as folder, ShardWriter(folder, "train") as writer:
    ...     writer.write({"__key__": "a", "mp4": clip, "json": meta})
    """

    def __init__(self, folder: Path | str, prefix: str, samples_per_shard: int = 256) -> None:
        if samples_per_shard < 1:
            raise ValueError(f"samples_per_shard {samples_per_shard} is below 1; give 1 or more")
        self.folder, self.prefix, self.samples_per_shard = Path(folder), prefix, samples_per_shard
        self.folder.mkdir(parents=True, exist_ok=True)
        made = re.compile(rf"{re.escape(prefix)}-\d{{6,}}\.tar")
        old = sorted(path.name for path in self.folder.iterdir() if made.fullmatch(path.name))
        if old:
            raise ValueError(
                f"{folder} holds {len(old)} shards of the prefix {prefix!r}, from {old[0]} on; "
                "delete them, or give another folder or prefix"
            )
        self.shards: list[Shard] = []
        self._open: tuple[Path, Any, TarWriter] | None = None
        self._keys: set[str] = set()
        self._count = 0

    def __enter__(self) -> ShardWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self._discard()

    def write(self, sample: Sample) -> None:
        """Append a sample; arrays and dicts are packed by ``pack``. Raises SchemaError when it breaks the schema."""
        validate(sample)
        key = sample["__key__"]
        if "." in key or key in self._keys:
            raise ValueError(f"key {key!r} holds a dot or was written before; give each sample its own, without dots")
        self._keys.add(key)
        if self._open is None:
            part = self.folder / f".{self._name()}.{os.getpid()}.part"
            file = part.open("wb")
            self._open = part, file, TarWriter(file, encoder=False, user="lpm", group="lpm", mtime=0)
        self._open[2].write(pack(sample))
        self._count += 1
        if self._count == self.samples_per_shard:
            self._finish()

    def close(self) -> None:
        """Finish the last shard and bring ``index.json`` up to date."""
        self._finish()
        write_index(self.folder, self.shards)

    def _name(self) -> str:
        return f"{self.prefix}-{len(self.shards):06d}.tar"

    def _finish(self) -> None:
        if self._open is None:
            return
        part, file, tar = self._open
        tar.close()
        file.close()
        path = self.folder / self._name()
        shard = Shard(str(path), self._count, part.stat().st_size, _sha256(part))
        part.replace(path)
        self.shards.append(shard)
        self._open, self._count = None, 0

    def _discard(self) -> None:
        if self._open is not None:
            self._open[2].close()
            self._open[1].close()
            self._open[0].unlink(missing_ok=True)
            self._open = None
        if self.shards:
            write_index(self.folder, self.shards)


def pack(sample: Sample) -> Sample:
    """Turn arrays (``.npy``), dicts of arrays (``.npz``) and ``json`` into bytes; bytes stay as they are."""
    return {name: value if name.startswith("__") else _pack_field(name, value) for name, value in sample.items()}


def list_shards(folder: Path | str, prefix: str = "") -> list[Shard]:
    """List the shards of ``folder`` whose names begin with ``prefix``, by name; those not in the index are counted.

    Raises:
        ValueError: if the folder is missing, holds no such shard, or a shard is empty or not as the index says.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ValueError(f"shard folder {folder} is missing; build it with `lpm data puppets` or give another folder")
    index = read_index(folder)
    paths = sorted(folder.glob(f"{prefix}*.tar"))
    if not paths:
        raise ValueError(f"shard folder {folder} holds no {prefix}*.tar; build it or give another folder or prefix")
    return [_known(path, index.get(path.name)) for path in paths]


def write_index(folder: Path | str, known: list[Shard] | None = None) -> None:
    """Write ``index.json`` for all shards of ``folder``; ``known`` and indexed ones are not read again."""
    folder = Path(folder)
    index = {**read_index(folder), **{Path(shard.path).name: shard for shard in known or ()}}
    rows = []
    for path in sorted(folder.glob("*.tar")):
        shard = index.get(path.name)
        shard = shard if shard and shard.bytes == path.stat().st_size else count_shard(path)
        rows.append({**asdict(shard), "path": path.name})
    part = folder / f".{INDEX}.{os.getpid()}.part"
    part.write_text(json.dumps({"shards": rows}, indent=1) + "\n")
    part.replace(folder / INDEX)


def count_shard(path: Path) -> Shard:
    """Read a shard once for its index row; raises ValueError when it is corrupt or empty."""
    samples = sum(1 for _ in read_shard(path))
    if samples == 0:
        raise ValueError(f"shard {path} holds no samples: rebuild it, or delete the file")
    return Shard(str(path), samples, path.stat().st_size, _sha256(path))


def read_shard(path: Path | str) -> Iterator[Sample]:
    """Yield the samples of a shard in order, fields as stored bytes; raises ValueError when it is corrupt."""
    try:
        with Path(path).open("rb") as file:
            yield from group_by_keys({**row, "__url__": str(path)} for row in tar_file_iterator(file))
    except (tarfile.TarError, EOFError) as error:
        raise ValueError(f"shard {path} is corrupt: {error}; copy or rebuild it") from error
    except ValueError as error:  # of webdataset, whose message lists all fields and stands in a tuple
        reason = str(error.args[0]).partition(" dict_keys")[0]
        raise ValueError(f"shard {path} is corrupt: {reason}; give each sample a key of its own") from error


def read_index(folder: Path) -> dict[str, Shard]:
    """Return the rows of ``index.json`` by file name, none without one; raises ValueError when it is no index."""
    path = folder / INDEX
    if not path.is_file():
        return {}
    try:
        rows = json.loads(path.read_text())["shards"]
        return {row["path"]: Shard(**{**row, "path": str(folder / row["path"])}) for row in rows}
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is no shard index: {error}; delete it, shards are then counted again") from error


def _pack_field(name: str, value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    if name == "json":
        return json.dumps(value, sort_keys=True, ensure_ascii=False).encode()
    buffer = io.BytesIO()
    if name.endswith("npy"):
        np.save(buffer, np.ascontiguousarray(value))
    elif name.endswith("npz"):
        np.savez_compressed(buffer, **value)
    else:
        raise ValueError(f"field {name} is {type(value).__name__}; encode it to bytes first")
    return buffer.getvalue()


def _known(path: Path, shard: Shard | None) -> Shard:
    if shard is None:
        return count_shard(path)
    size = path.stat().st_size
    if shard.bytes != size:
        raise ValueError(f"shard {path} has {size} bytes, {INDEX} says {shard.bytes}; copy it again or delete {INDEX}")
    if shard.samples == 0:
        raise ValueError(f"shard {path} holds no samples: rebuild it, or delete the file")
    return shard


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
