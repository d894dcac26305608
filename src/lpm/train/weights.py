"""``lpm weights convert`` and ``lpm weights info``: weights of other programs, and what is in a file or folder."""

import json
import re
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from torch import Tensor

from lpm.backbone import WanShape, from_wan, wan_shape
from lpm.backbone.pretrained import count_parameters, save_dit
from lpm.backbone.wan_weights import block_numbers, layout_of, strip_prefix
from lpm.condition.umt5_weights import WORDS, is_umt5, save_umt5, umt5_shape
from lpm.nn import KeysDiffer
from lpm.nn.keys import key_table
from lpm.sample.adapter import ADAPTER_CONFIG, is_adapter
from lpm.train.weight_files import depth, find_transformer, head_width, read_config, read_tensors


def convert(source: Path, output: Path, audio_width: int | None = 1024, half: bool = False) -> None:
    """Convert the transformer or the text encoder of Wan2.1 into a folder that a recipe can start from.

    The transformer: both key layouts, files of the original release and folders of diffusers, whole or in shards; what
    an image-to-video model has and LPM leaves out is listed. The text encoder: umT5 of the original release
    (models_t5_umt5-xxl-enc-bf16.pth); in transformers' format, lpm.condition.PretrainedText reads it where it is, as
    lpm.codec.wan_codec reads the autoencoder.

    Example: lpm weights convert Wan2.1-T2V-1.3B weights/wan-1b

    Args:
        source: safetensors or .pth file, folder of shards, or a whole model's folder.
        output: folder to write; lpm.backbone.pretrained_dit or lpm.condition.PretrainedText loads it.
        audio_width: width of the audio encoders' tokens (1024 for wav2vec 2.0 large); null builds no audio paths.
        half: store bfloat16.
    """
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise ValueError(f"{output} exists and is not empty; name a new folder")
    place = find_transformer(source)
    tensors = strip_prefix(read_tensors(place))
    if is_autoencoder(tensors):
        raise ValueError(
            f"{place} is Wan2.1's autoencoder and needs no conversion; lpm.codec.wan_codec reads it as it is"
        )
    try:
        if is_umt5(tensors):
            convert_text(tensors, place, output, half)
        else:
            convert_transformer(tensors, place, output, audio_width, half)
    except KeysDiffer as error:
        show_faults(error)
        raise ValueError(f"{error.summary}; are these the weights of Wan2.1?") from None


def convert_transformer(
    tensors: Mapping[str, Tensor], place: Path, output: Path, audio_width: int | None, half: bool
) -> None:
    """Write a DiT's folder and say what was converted and what was left out."""
    shape = wan_shape(tensors, head_width(place), depth(place))
    ours, left_out = from_wan(tensors, shape.heads, shape.channels, shape.depth)
    save_dit(to_half(ours) if half else ours, spec_of(shape, audio_width), output)
    table = Table("what", "tensors", "parameters", title=f"Wan2.1 transformer, {layout_of(tensors)} layout")
    add_row(table, "converted", list(ours.values()))
    for name, group in grouped(left_out).items():
        add_row(table, f"left out: {name}", group)
    Console(width=120).print(table)
    hears = "audio paths start fresh and mute" if audio_width else "no audio paths"
    print(f"wrote {output}; {hears}")


def convert_text(tensors: Mapping[str, Tensor], place: Path, output: Path, half: bool) -> None:
    """Write a text encoder's folder, with the tokenizer that the release keeps beside it."""
    words = place.parent / WORDS
    save_umt5(to_half(tensors) if half else tensors, output, words if words.is_dir() else None)
    table = Table("what", "tensors", "parameters", title="umT5, layout of Wan2.1's release")
    add_row(table, "converted", list(tensors.values()))
    Console(width=120).print(table)
    without = (
        "" if words.is_dir() else f"; its tokenizer is not at {words}, so copy the tokenizer's files there yourself"
    )
    print(f"wrote {output}{without}")


def is_autoencoder(tensors: Mapping[str, Tensor]) -> bool:
    """Tell whether tensors are those of Wan2.1's autoencoder, of the release or of diffusers."""
    return "encoder.conv1.weight" in tensors or "encoder.conv_in.weight" in tensors


def to_half(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors in bfloat16."""
    return {name: tensor.bfloat16() for name, tensor in tensors.items()}


def grouped(tensors: Mapping[str, Tensor]) -> dict[str, list[Tensor]]:
    """Gather tensors whose names differ in the number of the block only.

    >>> import torch
    >>> list(grouped({"blocks.0.k.bias": torch.ones(2), "blocks.11.k.bias": torch.ones(2)}))
    ['blocks.*.k.bias']
    """
    groups: dict[str, list[Tensor]] = {}
    for name, tensor in tensors.items():
        groups.setdefault(re.sub(r"^blocks\.\d+\.", "blocks.*.", name), []).append(tensor)
    return groups


def add_row(table: Table, what: str, tensors: list[Tensor]) -> None:
    """Add how many tensors and parameters a part has."""
    table.add_row(escape(what), str(len(tensors)), f"{sum(tensor.numel() for tensor in tensors):,}")


def show_faults(error: KeysDiffer) -> None:
    """Print every key that does not fit, to the error stream."""
    print("\n".join(key_table(error.faults)), file=sys.stderr)


def info(source: Path) -> None:
    """Say what weights are in a file or folder: kind, sizes, parameters, precision.

    Example: lpm weights info Wan2.1-T2V-1.3B

    Args:
        source: safetensors, .pth or .ckpt file, or a folder of weights.
    """
    place = find_transformer(source)
    tensors = strip_prefix(read_tensors(place))
    kinds = sorted({str(tensor.dtype).removeprefix("torch.") for tensor in tensors.values()})
    table = Table("", str(place), show_header=True)
    table.add_row("tensors", str(len(tensors)))
    table.add_row("parameters", f"{count_parameters(tensors):,}")
    table.add_row("precision", ", ".join(kinds))
    for name, value in describe(tensors, place).items():
        table.add_row(name, str(value))
    Console().print(table)


def describe(tensors: Mapping[str, Tensor], place: Path) -> dict[str, Any]:
    """Return what is known about the weights beyond their numbers."""
    folder = place if place.is_dir() else place.parent
    if is_adapter(folder):
        adapter = json.loads((folder / ADAPTER_CONFIG).read_text())
        names = {"peft_type": "kind", "r": "rank", "lora_alpha": "alpha", "base_model_name_or_path": "base"}
        return {ours: adapter.get(theirs) for theirs, ours in names.items()}
    spec = read_config(place)
    if "class_path" in spec:
        return {"kind": spec["class_path"], **spec.get("init_args", {})}
    if is_autoencoder(tensors):
        return {"kind": "Wan2.1 autoencoder; lpm.codec.wan_codec loads it"}
    if is_umt5(tensors):
        return {"kind": "umT5, layout of Wan2.1's release; lpm weights convert brings it", **umt5_shape(tensors)}
    if "shared.weight" in tensors and "model_type" in spec:
        return {"kind": f"{spec['model_type']} in transformers' format; lpm.condition.PretrainedText loads it"}
    try:
        layout = layout_of(tensors)
    except ValueError:
        return {"kind": f"unknown; it begins with {', '.join(sorted(tensors)[:3])}"}
    shape = wan_shape(tensors, head_width(place), depth(place))
    absent = sorted(set(range(shape.depth)) - block_numbers(tensors))
    lacks = {"missing blocks": ", ".join(map(str, absent))} if absent else {}
    return {"kind": f"Wan2.1 transformer, {layout} layout", **asdict(shape), **lacks}


def spec_of(shape: WanShape, audio_width: int | None) -> dict[str, Any]:
    """Return the spec that builds a network of a shape, with or without audio paths."""
    numbers = {name: value for name, value in asdict(shape).items() if name != "image"}
    return {"class_path": "lpm.backbone.wan", "init_args": {**numbers, "audio_width": audio_width}}
