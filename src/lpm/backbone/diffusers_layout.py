"""The text-to-video path of a DiT as a folder of diffusers, for programs that know Wan2.1."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import save_torch_state_dict
from torch import Tensor

from lpm.backbone.dit import DiT
from lpm.backbone.head import Head
from lpm.backbone.wan_weights import WanShape, to_wan, wan_shape

PATTERN = "diffusion_pytorch_model{suffix}.safetensors"
NULLS = ("text.null", "speak.null", "listen.null")


@dataclass(frozen=True)
class Split:
    """What went into the folder, and what has no place there, by name."""

    exported: Mapping[str, Tensor]
    audio: Mapping[str, Tensor]
    nulls: Mapping[str, Tensor]


def save_diffusers(network: DiT, folder: Path | str, shard: str = "10GB") -> Split:
    """Write ``transformer/config.json`` and weights, as diffusers' ``WanTransformer3DModel`` reads them.

    Args:
        network: a DiT of Wan2.1's shape, such as ``lpm.backbone.lpm_1b()``; it stays as it is.
        folder: of the whole model; the transformer goes into a folder below.
        shard: the largest file.

    Returns:
        Which tensors were written and which were not: audio paths, and the null tokens of absent conditions.

    Raises:
        ValueError: the network differs from Wan2.1 in its text-to-video path, as the puppet sizes do.
    """
    if type(network.head) is not Head or network.embed.image is not None:
        raise ValueError(
            "this network embeds first frames and moves them by layers that Wan2.1 does not have; only networks of "
            "lpm.backbone.wan, such as lpm_1b, have a place in diffusers"
        )
    state = network.state_dict()
    heads = network.embed.width // network.head_width
    theirs, left_out = to_wan(state, heads)
    inside = Path(folder) / "transformer"
    inside.mkdir(parents=True, exist_ok=True)
    theirs = {name: tensor.clone() for name, tensor in theirs.items()}  # parts of joined weights are views of them
    save_torch_state_dict(theirs, inside, filename_pattern=PATTERN, max_shard_size=shard)
    shape = wan_shape(theirs, network.head_width)
    (inside / "config.json").write_text(json.dumps(diffusers_config(shape), indent=2) + "\n")
    nulls = {name: state[name] for name in left_out if name in NULLS}
    audio = {name: state[name] for name in left_out if name not in NULLS}
    return Split({name: state[name] for name in state if name not in left_out}, audio, nulls)


def diffusers_config(shape: WanShape) -> dict[str, Any]:
    """Return the configuration of diffusers' ``WanTransformer3DModel`` for a network's numbers."""
    return {
        "_class_name": "WanTransformer3DModel",
        "patch_size": [1, 2, 2],
        "num_attention_heads": shape.heads,
        "attention_head_dim": shape.width // shape.heads,
        "in_channels": shape.channels,
        "out_channels": shape.channels,
        "text_dim": shape.text_width,
        "freq_dim": shape.waves,
        "ffn_dim": shape.hidden,
        "num_layers": shape.depth,
        "cross_attn_norm": True,
        "qk_norm": "rms_norm_across_heads",
        "eps": 1e-6,
        "image_dim": None,
        "added_kv_proj_dim": None,
    }
