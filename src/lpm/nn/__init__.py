"""Layers: attention, feed-forward, embeddings; and whether weights fit them."""

from lpm.nn.attention import ContextAttention, SelfAttention
from lpm.nn.embed import PatchEmbed, TimeEmbed, sinusoid
from lpm.nn.keys import KeyFault, KeysDiffer, check_keys, shapes
from lpm.nn.mlp import mlp

__all__ = [
    "ContextAttention",
    "KeyFault",
    "KeysDiffer",
    "PatchEmbed",
    "SelfAttention",
    "TimeEmbed",
    "check_keys",
    "mlp",
    "shapes",
    "sinusoid",
]
