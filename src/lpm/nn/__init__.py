"""Layers: attention, what it looks at, the cache of a stream, feed-forward, embeddings; whether weights fit them."""

from lpm.nn.attention import ContextAttention, SelfAttention
from lpm.nn.cache import KVCache
from lpm.nn.embed import PatchEmbed, TimeEmbed, sinusoid
from lpm.nn.keys import KeyFault, KeysDiffer, check_keys, shapes
from lpm.nn.mlp import mlp
from lpm.nn.send import send
from lpm.nn.stored import EightBit, Exact, Stored
from lpm.nn.view import KeyValue, Past, TwoClocks, View, Whole

__all__ = [
    "ContextAttention",
    "EightBit",
    "Exact",
    "KVCache",
    "KeyFault",
    "KeyValue",
    "KeysDiffer",
    "Past",
    "PatchEmbed",
    "SelfAttention",
    "Stored",
    "TimeEmbed",
    "TwoClocks",
    "View",
    "Whole",
    "check_keys",
    "mlp",
    "send",
    "shapes",
    "sinusoid",
]
