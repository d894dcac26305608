"""Video <-> latent: causal codecs that satisfy ``lpm.types.Codec``."""

from lpm.codec.pretrained import load_codec, save_codec, tiny_codec
from lpm.codec.tiny import DecodeState, EncodeState, TinyCodec

__all__ = ["DecodeState", "EncodeState", "TinyCodec", "load_codec", "save_codec", "tiny_codec"]
