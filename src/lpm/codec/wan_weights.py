"""Wan2.1's autoencoder weights, in the original key layout and in that of diffusers, for ``WanCodec``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Size, Tensor, nn

from lpm.codec.wan import Down, FrameAttention, Residual, Up, WanCodec
from lpm.nn import check_keys

# Inside a layer: our name, the original name, diffusers' name.
RESIDUAL = (
    ("norm_1.gain", "residual.0.gamma", "norm1.gamma"),
    ("convolve_1.weight", "residual.2.weight", "conv1.weight"),
    ("convolve_1.bias", "residual.2.bias", "conv1.bias"),
    ("norm_2.gain", "residual.3.gamma", "norm2.gamma"),
    ("convolve_2.weight", "residual.6.weight", "conv2.weight"),
    ("convolve_2.bias", "residual.6.bias", "conv2.bias"),
    ("skip.weight", "shortcut.weight", "conv_shortcut.weight"),
    ("skip.bias", "shortcut.bias", "conv_shortcut.bias"),
)
ATTENTION = (
    ("norm.gain", "norm.gamma", "norm.gamma"),
    ("qkv.weight", "to_qkv.weight", "to_qkv.weight"),
    ("qkv.bias", "to_qkv.bias", "to_qkv.bias"),
    ("out.weight", "proj.weight", "proj.weight"),
    ("out.bias", "proj.bias", "proj.bias"),
)
RESAMPLE = (
    ("space.weight", "resample.1.weight", "resample.1.weight"),
    ("space.bias", "resample.1.bias", "resample.1.bias"),
    ("time.weight", "time_conv.weight", "time_conv.weight"),
    ("time.bias", "time_conv.bias", "time_conv.bias"),
)
ENDS = (
    ("first.weight", "conv1.weight", "conv_in.weight"),
    ("first.bias", "conv1.bias", "conv_in.bias"),
    ("norm.gain", "head.0.gamma", "norm_out.gamma"),
    ("last.weight", "head.2.weight", "conv_out.weight"),
    ("last.bias", "head.2.bias", "conv_out.bias"),
)
LATENT = (
    ("to_latent.weight", "conv1.weight", "quant_conv.weight"),
    ("to_latent.bias", "conv1.bias", "quant_conv.bias"),
    ("from_latent.weight", "conv2.weight", "post_quant_conv.weight"),
    ("from_latent.bias", "conv2.bias", "post_quant_conv.bias"),
)


def wan_codec(weights: str | Path, half: bool = False) -> WanCodec:
    """Return Wan2.1's autoencoder with the weights at a path, frozen, in evaluation mode.

    Args:
        weights: ``Wan2.1_VAE.pth``, a safetensors file in either layout, or diffusers' folder ``vae``.
        half: compute in bfloat16; pixels and latents keep the precision in which they come.

    Raises:
        ValueError: no such file, or not this autoencoder.
        KeysDiffer: keys are missing, unknown or misshapen; the message is a table of every one.
    """
    path = Path(weights)
    file = path / "diffusion_pytorch_model.safetensors" if path.is_dir() else path
    if not file.is_file():
        raise ValueError(
            f"codec weights {file} do not exist; give Wan2.1_VAE.pth or the folder vae of a diffusers model"
        )
    codec = wan_codec_from(read_file(file)).requires_grad_(False).eval()
    if half:
        for parameter in codec.parameters():  # mean and deviation are buffers and stay exact
            parameter.data = parameter.data.bfloat16()
    return codec


def read_file(file: Path) -> Mapping[str, Tensor]:
    """Return the tensors of a safetensors or pickle file; ValueError if it holds none."""
    try:
        content: Any = load_file(file) if file.suffix == ".safetensors" else torch.load(file, weights_only=True)
    except Exception as error:
        raise ValueError(
            f"codec weights {file} cannot be read ({str(error).splitlines()[0]}); fetch them again"
        ) from None
    if not isinstance(content, dict):
        raise ValueError(f"codec weights {file} hold a {type(content).__name__}, not tensors by name; fetch them again")
    return content


def wan_codec_from(tensors: Mapping[str, Tensor]) -> WanCodec:
    """Build the autoencoder whose weights these are, in either layout."""
    column = 1 if "encoder.conv1.weight" in tensors else 2
    first = tensors.get("encoder.conv1.weight", tensors.get("encoder.conv_in.weight"))
    if first is None:
        begin = ", ".join(sorted(tensors)[:3]) or "nothing"
        raise ValueError(f"these are not the weights of Wan2.1's autoencoder: they begin with {begin}")
    bias = tensors.get("conv2.bias" if column == 1 else "post_quant_conv.bias")
    channels = 16 if bias is None else bias.shape[0]
    plain = None if channels == 16 else [0.0] * channels
    codec = WanCodec(len(first), channels=channels, mean=plain, deviation=plain and [1.0] * channels)
    names = dict(pairs(codec, column))
    expected = codec.state_dict()
    needed = {their: expected[our].shape for our, their in names.items() if our in expected}
    same = {name for name in needed.keys() & tensors.keys() if core(needed[name]) == core(tensors[name].shape)}
    found = {name: needed[name] if name in same else tensor.shape for name, tensor in tensors.items()}
    check_keys(needed, found, "Wan2.1's autoencoder")
    ours = {our: tensors[their] for our, their in names.items() if our in expected}
    codec.load_state_dict({our: tensor.reshape(expected[our].shape) for our, tensor in ours.items()})
    return codec


def core(shape: Size) -> Size:
    """Return a shape without the ones at its end, which Wan's gains and projections have and ours do not.

    >>> core(Size([96, 1, 1, 1])), core(Size([1, 96, 1]))
    (torch.Size([96]), torch.Size([1, 96]))
    """
    while shape and shape[-1] == 1:
        shape = shape[:-1]
    return shape


def pairs(codec: WanCodec, column: int) -> Iterator[tuple[str, str]]:
    """Yield our name and theirs of every tensor; ``column`` 1 is the original layout, 2 that of diffusers."""
    for row in LATENT:
        yield row[0], row[column]
    for side in ("encoder", "decoder"):
        for row in ENDS:
            yield f"{side}.{row[0]}", f"{side}.{row[column]}"
        body = getattr(codec, side).body
        for index, layer in enumerate(body):
            place = layer_name(side, index, len(body), codec.blocks, column)
            table = ATTENTION if isinstance(layer, FrameAttention) else RESAMPLE if is_resample(layer) else RESIDUAL
            for row in table:
                if "skip" in row[0] and not isinstance(getattr(layer, "skip", None), nn.Conv3d):
                    continue
                if "time" in row[0] and layer.time is None:
                    continue
                yield f"{side}.body.{index}.{row[0]}", f"{side}.{place}.{row[column]}"


def is_resample(layer: nn.Module) -> bool:
    """Tell halvings and doublings from residual blocks."""
    assert isinstance(layer, Down | Up | Residual)
    return not isinstance(layer, Residual)


def layer_name(side: str, index: int, count: int, blocks: int, column: int) -> str:
    """Return Wan's name of the layer at ``index`` of our body.

    >>> layer_name("decoder", 4, 18, 2, 1), layer_name("decoder", 6, 18, 2, 2), layer_name("encoder", 12, 14, 2, 2)
    ('upsamples.1', 'up_blocks.0.upsamplers.0', 'mid_block.attentions.0')
    """
    middle = index - (count - 3) if side == "encoder" else index
    if 0 <= middle < 3:
        names = ("mid_block.resnets.0", "mid_block.attentions.0", "mid_block.resnets.1")
        return f"middle.{middle}" if column == 1 else names[middle]
    if side == "encoder":
        return f"{'downsamples' if column == 1 else 'down_blocks'}.{index}"
    place = index - 3
    if column == 1:
        return f"upsamples.{place}"
    level, inside = divmod(place, blocks + 2)
    return f"up_blocks.{level}." + ("upsamplers.0" if inside == blocks + 1 else f"resnets.{inside}")
