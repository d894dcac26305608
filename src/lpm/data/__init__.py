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
    from lpm.data.listening import ListenerEmphasis, Traits, class_weights, listener_traits
    from lpm.data.memory import MemoryClips
    from lpm.data.mixture import ACTIVITIES, Draws, Emphasis, Mixture, Shares, activity
    from lpm.data.pictures import STRIDE, Latents, PairLatents, Pictures, Pixels, TrajectoryLatents
    from lpm.data.references import all_references, draw_kinds, draw_references, kinds, references_of
    from lpm.data.resample import resample
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
    from lpm.data.tally import Tally, tally, tally_table
    from lpm.data.video import encode_video, read_video, write_video
    from lpm.data.window import (
        Beginning,
        Clip,
        Cut,
        begin,
        begin_or_continue,
        continue_from_causal,
        continue_performance,
        cut_audio,
        early_start,
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
        "listening": ["ListenerEmphasis", "Traits", "class_weights", "listener_traits"],
        "memory": ["MemoryClips"],
        "mixture": ["ACTIVITIES", "Draws", "Emphasis", "Mixture", "Shares", "activity"],
        "pictures": ["Latents", "PairLatents", "Pictures", "Pixels", "STRIDE", "TrajectoryLatents"],
        "references": ["all_references", "draw_kinds", "draw_references", "kinds", "references_of"],
        "resample": ["resample"],
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
        "tally": ["Tally", "tally", "tally_table"],
        "video": ["encode_video", "read_video", "write_video"],
        "window": [
            "Beginning",
            "Clip",
            "Cut",
            "begin",
            "begin_or_continue",
            "continue_from_causal",
            "continue_performance",
            "cut_audio",
            "early_start",
            "first_start",
            "last_start",
            "random_start",
        ],
    },
)
