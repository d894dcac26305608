"""Data: the shard schema, writing and reading shards, clips and batches.

A shard sample is checked (`validate`), cut to a clip (`Cut`) and collated to a `lpm.types.Batch`, either streamed
(`ClipDataset`) or from memory (`MemoryClips`); both resume exactly. Names are loaded when they are first used:
the processes that draw puppets start without torch.
"""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from lpm.data.audio import check_samples, from_int16, iterate_audio, read_audio, to_int16, wav_bytes
    from lpm.data.batch import collate
    from lpm.data.dataset import ClipDataset, gather_states, loader
    from lpm.data.memory import MemoryClips
    from lpm.data.pictures import STRIDE, Latents, PairLatents, Pictures, Pixels
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
        continue_performance,
        cut_audio,
        first_start,
        last_start,
        random_start,
    )

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "audio": ["check_samples", "from_int16", "iterate_audio", "read_audio", "to_int16", "wav_bytes"],
        "batch": ["collate"],
        "dataset": ["ClipDataset", "gather_states", "loader"],
        "memory": ["MemoryClips"],
        "pictures": ["Latents", "PairLatents", "Pictures", "Pixels", "STRIDE"],
        "references": ["all_references", "draw_references", "kinds"],
        "schema": [
            "BODY_VIEWS",
            "EXPRESSIONS",
            "SCHEMA_VERSION",
            "SUB_KINDS",
            "Sample",
            "SchemaError",
            "check_references",
            "frames_to_states",
            "read_meta",
            "states_to_frames",
            "validate",
        ],
        "shards": ["Shard", "ShardWriter", "list_shards", "pack", "read_shard", "write_index"],
        "stages": ["Counts", "apply", "check_media", "decode", "valid"],
        "video": ["encode_video", "read_video", "write_video"],
        "window": [
            "Beginning",
            "Clip",
            "Cut",
            "begin",
            "begin_or_continue",
            "continue_performance",
            "cut_audio",
            "first_start",
            "last_start",
            "random_start",
        ],
    },
)
