"""Layers: attention, what it looks at, the cache of a stream, feed-forward, embeddings."""

from lpm.nn.attention import ContextAttention, SelfAttention
from lpm.nn.cache import KVCache
from lpm.nn.embed import PatchEmbed, TimeEmbed, sinusoid
from lpm.nn.mlp import mlp
from lpm.nn.stored import EightBit, Exact, Stored
from lpm.nn.view import KeyValue, Past, TwoClocks, View, Whole

__all__ = [
    "ContextAttention",
    "EightBit",
    "Exact",
    "KVCache",
    "KeyValue",
    "Past",
    "PatchEmbed",
    "SelfAttention",
    "Stored",
    "TimeEmbed",
    "TwoClocks",
    "View",
    "Whole",
    "mlp",
    "sinusoid",
]
