"""Denoisers: the DiT of the paper, its causal form for streams, and named sizes."""

from lpm.backbone.block import Block, MultiModalAttention
from lpm.backbone.causal import CausalDiT
from lpm.backbone.context import AudioContext, AudioSummary, TextContext
from lpm.backbone.context_parallel import context_parallel
from lpm.backbone.deferred import DeferredDiT, realise, realised_spec
from lpm.backbone.diffusers_layout import Split, save_diffusers
from lpm.backbone.dit import DiT
from lpm.backbone.head import Head, MotionHead
from lpm.backbone.masks import Place, block_mask, dense_mask, sees
from lpm.backbone.memory import cache_bytes
from lpm.backbone.pictures import Pictures, pictures_of
from lpm.backbone.positions import SegmentOffsets
from lpm.backbone.pretrained import pretrained_dit, save_dit
from lpm.backbone.recompute import recomputed
from lpm.backbone.share import ContextShare, Share, WholeSequence
from lpm.backbone.sizes import lpm_1b, lpm_17b, muted, puppet, puppet_small, wan, wan_1b, wan_14b
from lpm.backbone.timing import latent_spans, latent_states
from lpm.backbone.wan_weights import WanShape, from_wan, to_wan, wan_shape

__all__ = [
    "AudioContext",
    "AudioSummary",
    "Block",
    "CausalDiT",
    "ContextShare",
    "DeferredDiT",
    "DiT",
    "Head",
    "MotionHead",
    "MultiModalAttention",
    "Pictures",
    "Place",
    "SegmentOffsets",
    "Share",
    "Split",
    "TextContext",
    "WanShape",
    "WholeSequence",
    "block_mask",
    "cache_bytes",
    "context_parallel",
    "dense_mask",
    "from_wan",
    "latent_spans",
    "latent_states",
    "lpm_17b",
    "lpm_1b",
    "muted",
    "pictures_of",
    "pretrained_dit",
    "puppet",
    "puppet_small",
    "realise",
    "realised_spec",
    "recomputed",
    "save_diffusers",
    "save_dit",
    "sees",
    "to_wan",
    "wan",
    "wan_14b",
    "wan_1b",
    "wan_shape",
]
