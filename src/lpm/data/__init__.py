"""Data: the shard schema, writing and reading shards, clips and batches.

A shard sample is checked (`validate`), cut to a clip (`Cut`) and collated to a `lpm.types.Batch`, either streamed
(`ClipDataset`) or from memory (`MemoryClips`); both resume exactly.
"""

from lpm.data.audio import check_samples, from_int16, read_audio, to_int16, wav_bytes
from lpm.data.collate import collate
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
from lpm.data.window import Clip, Cut, cut_audio, first_start, last_start, random_start

__all__ = [
    "BODY_VIEWS",
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
