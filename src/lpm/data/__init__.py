"""Data: the shard schema, writing and reading shards, clips and batches.

A shard sample is checked (`validate`), cut to a clip (`Cut`) and collated to a `lpm.types.Batch`, either streamed
(`ClipDataset`) or from memory (`MemoryClips`); both resume exactly. Names are loaded when they are first used:
the processes that draw puppets start without torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lpm.data.audio import check_samples, from_int16, read_audio, to_int16, wav_bytes
    from lpm.data.batch import collate
    from lpm.data.dataset import ClipDataset, gather_states, loader
    from lpm.data.memory import MemoryClips
    from lpm.data.pictures import STRIDE, Latents, Pictures, Pixels
    from lpm.data.references import all_references, draw_references, kinds
    from lpm.data.schema import (
        BODY_VIEWS,
        EXPRESSIONS,
        SCHEMA_VERSION,
        SUB_KINDS,
        Sample,
        SchemaError,
        check_references,
        frames_to_states,
        read_meta,
        states_to_frames,
        validate,
    )
    from lpm.data.shards import Shard, ShardWriter, list_shards, pack, read_shard, write_index
    from lpm.data.stages import Counts, apply, check_media, decode, valid
    from lpm.data.video import encode_video, read_video, write_video
    from lpm.data.window import (
        Beginning,
        Clip,
        Cut,
        begin,
        begin_or_continue,
        cut_audio,
        first_start,
        last_start,
        random_start,
    )

HOMES = {
    "BODY_VIEWS": "schema",
    "Beginning": "window",
    "EXPRESSIONS": "schema",
    "SCHEMA_VERSION": "schema",
    "STRIDE": "pictures",
    "SUB_KINDS": "schema",
    "Clip": "window",
    "ClipDataset": "dataset",
    "Counts": "stages",
    "Cut": "window",
    "Latents": "pictures",
    "MemoryClips": "memory",
    "Pictures": "pictures",
    "Pixels": "pictures",
    "Sample": "schema",
    "SchemaError": "schema",
    "Shard": "shards",
    "ShardWriter": "shards",
    "all_references": "references",
    "apply": "stages",
    "begin": "window",
    "begin_or_continue": "window",
    "check_media": "stages",
    "check_references": "schema",
    "check_samples": "audio",
    "collate": "batch",
    "cut_audio": "window",
    "decode": "stages",
    "draw_references": "references",
    "encode_video": "video",
    "first_start": "window",
    "frames_to_states": "schema",
    "from_int16": "audio",
    "gather_states": "dataset",
    "kinds": "references",
    "last_start": "window",
    "list_shards": "shards",
    "loader": "dataset",
    "pack": "shards",
    "random_start": "window",
    "read_audio": "audio",
    "read_meta": "schema",
    "read_shard": "shards",
    "read_video": "video",
    "states_to_frames": "schema",
    "to_int16": "audio",
    "valid": "stages",
    "validate": "schema",
    "wav_bytes": "audio",
    "write_index": "shards",
    "write_video": "video",
}

__all__ = [
    "BODY_VIEWS",
    "Beginning",
    "EXPRESSIONS",
    "SCHEMA_VERSION",
    "STRIDE",
    "SUB_KINDS",
    "Clip",
    "ClipDataset",
    "Counts",
    "Cut",
    "Latents",
    "MemoryClips",
    "Pictures",
    "Pixels",
    "Sample",
    "SchemaError",
    "Shard",
    "ShardWriter",
    "all_references",
    "apply",
    "begin",
    "begin_or_continue",
    "check_media",
    "check_references",
    "check_samples",
    "collate",
    "cut_audio",
    "decode",
    "draw_references",
    "encode_video",
    "first_start",
    "frames_to_states",
    "from_int16",
    "gather_states",
    "kinds",
    "last_start",
    "list_shards",
    "loader",
    "pack",
    "random_start",
    "read_audio",
    "read_meta",
    "read_shard",
    "read_video",
    "states_to_frames",
    "to_int16",
    "valid",
    "validate",
    "wav_bytes",
    "write_index",
    "write_video",
]


def __getattr__(name: str) -> Any:
    if name not in HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
