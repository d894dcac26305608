"""Denoisers: the DiT of the paper and its named sizes."""

from lpm.backbone.block import Block, MultiModalAttention
from lpm.backbone.context import AudioContext, AudioSummary, TextContext
from lpm.backbone.context_parallel import context_parallel
from lpm.backbone.deferred import DeferredDiT, realise
from lpm.backbone.dit import DiT
from lpm.backbone.head import Head, MotionHead
from lpm.backbone.positions import SegmentOffsets
from lpm.backbone.pretrained import pretrained_dit, save_dit
from lpm.backbone.recompute import recomputed
from lpm.backbone.share import ContextShare, Share, WholeSequence
from lpm.backbone.sizes import lpm_1b, lpm_17b, puppet, puppet_small, wan, wan_1b, wan_14b
from lpm.backbone.timing import latent_spans, latent_states
from lpm.backbone.wan_weights import WanShape, from_wan, to_wan, wan_shape

__all__ = [
    "AudioContext",
    "AudioSummary",
    "Block",
    "ContextShare",
    "DeferredDiT",
    "DiT",
    "Head",
    "MotionHead",
    "MultiModalAttention",
    "SegmentOffsets",
    "Share",
    "TextContext",
    "WanShape",
    "WholeSequence",
    "context_parallel",
    "from_wan",
    "latent_spans",
    "latent_states",
    "lpm_1b",
    "lpm_17b",
    "pretrained_dit",
    "puppet",
    "puppet_small",
    "realise",
    "recomputed",
    "save_dit",
    "to_wan",
    "wan",
    "wan_1b",
    "wan_14b",
    "wan_shape",
]
