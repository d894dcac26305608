"""Layers: attention, feed-forward, embeddings."""

from lpm.nn.attention import ContextAttention, SelfAttention
from lpm.nn.embed import PatchEmbed, TimeEmbed, sinusoid
from lpm.nn.mlp import mlp

__all__ = ["ContextAttention", "PatchEmbed", "SelfAttention", "TimeEmbed", "mlp", "sinusoid"]
