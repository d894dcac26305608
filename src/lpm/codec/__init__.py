"""Video <-> latent: causal codecs that satisfy ``lpm.types.Codec``."""

from lpm.codec.pixels import to_pixels, to_uint8
from lpm.codec.pretrained import load_codec, save_codec, tiny_codec
from lpm.codec.tiny import DecodeState, EncodeState, TinyCodec
from lpm.codec.wan import WanCodec, WanState
from lpm.codec.wan_weights import wan_codec

__all__ = [
    "DecodeState",
    "EncodeState",
    "TinyCodec",
    "WanCodec",
    "WanState",
    "load_codec",
    "save_codec",
    "tiny_codec",
    "to_pixels",
    "to_uint8",
    "wan_codec",
]
