"""``lpm weights convert`` and ``lpm weights info``: weights of other programs, and what is in a file or folder."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from huggingface_hub import load_state_dict_from_file
from rich.console import Console
from rich.table import Table
from torch import Tensor

from lpm.backbone import WanShape, from_wan, wan_shape
from lpm.backbone.pretrained import count_parameters, save_dit
from lpm.backbone.wan_weights import layout_of, strip_prefix
from lpm.sample.adapter import ADAPTER_CONFIG, is_adapter

INDEX = ".index.json"


def convert(source: Path, output: Path, audio_width: int | None = 1024, half: bool = False) -> None:
    """Convert the transformer of Wan2.1 into a folder that a recipe's backbone can start from.

    Understands both key layouts: files of the original release and folders of diffusers, whole or in shards. What an
    image-to-video model has and LPM leaves out is listed. Its autoencoder and text encoder are used where they are, by
    lpm.codec.wan_codec and lpm.condition.PretrainedText.

    Example: lpm weights convert Wan2.1-T2V-1.3B weights/wan-1b

    Args:
        source: safetensors or .pth file, folder of shards, or a whole model's folder.
        output: folder to write; lpm.backbone.pretrained_dit loads it.
        audio_width: width of the audio encoders' tokens (1024 for wav2vec 2.0 large); null builds no audio paths.
        half: store bfloat16.
    """
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise ValueError(f"{output} exists and is not empty; name a new folder")
    place = find_transformer(source)
    tensors = strip_prefix(read_tensors(place))
    layout, shape = layout_of(tensors), wan_shape(tensors, head_width(place))
    ours, left_out = from_wan(tensors, shape.heads, shape.channels)
    if half:
        ours = {name: tensor.bfloat16() for name, tensor in ours.items()}
    save_dit(ours, spec_of(shape, audio_width), output)
    table = Table("what", "tensors", "parameters", title=f"Wan2.1 transformer, {layout} layout")
    table.add_row("converted", str(len(ours)), f"{count_parameters(ours) / 1e9:.4f} B")
    dropped = {name: tensors[name] for name in left_out}
    table.add_row("image path, left out", str(len(dropped)), f"{count_parameters(dropped) / 1e9:.4f} B")
    Console().print(table)
    hears = "audio paths start fresh and mute" if audio_width else "no audio paths"
    print(f"wrote {output}; {hears}")


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
    config = folder / "config.json"
    spec = json.loads(config.read_text()) if config.is_file() else {}
    if "class_path" in spec:
        return {"kind": spec["class_path"], **spec.get("init_args", {})}
    if "encoder.conv1.weight" in tensors or "encoder.conv_in.weight" in tensors:
        return {"kind": "Wan2.1 autoencoder; lpm.codec.wan_codec loads it"}
    try:
        layout = layout_of(tensors)
    except ValueError:
        return {"kind": f"unknown; it begins with {', '.join(sorted(tensors)[:3])}"}
    return {"kind": f"Wan2.1 transformer, {layout} layout", **asdict(wan_shape(tensors, head_width(place)))}


def find_transformer(source: Path) -> Path:
    """Return the file or folder that holds the transformer, or what is given if it is one already.

    Raises:
        ValueError: nothing there, or a folder without weights.
    """
    if not source.exists():
        raise ValueError(f"weights {source} are missing; give a file or folder of Wan2.1, original or diffusers")
    if source.is_file():
        return source
    inside = source / "transformer" if (source / "model_index.json").is_file() else source
    if not list(inside.glob("*.safetensors")):
        raise ValueError(f"{inside} holds no .safetensors; give the file itself, or the folder that holds it")
    return inside


def read_tensors(place: Path) -> dict[str, Tensor]:
    """Return all tensors of a file, or of a folder with one file or shards with an index.

    Raises:
        ValueError: shards are missing, or several files without an index.
    """
    if place.is_file():
        try:
            content: Any = load_state_dict_from_file(place, map_location="cpu", weights_only=True)
        except Exception as error:
            raise ValueError(f"{place} holds no weights that can be read: {error}") from None
        found = content.get("state_dict", content)
        return {name: tensor for name, tensor in found.items() if isinstance(tensor, Tensor)}
    index = next(iter(place.glob(f"*.safetensors{INDEX}")), None)
    files = sorted(place.glob("*.safetensors"))
    if index is not None:
        files = [place / name for name in sorted(set(json.loads(index.read_text())["weight_map"].values()))]
        missing = [file.name for file in files if not file.is_file()]
        if missing:
            raise ValueError(
                f"{place} lacks {len(missing)} shards of {len(files)}: {', '.join(missing)}; fetch them again"
            )
    elif len(files) != 1:
        raise ValueError(f"{place} holds {len(files)} .safetensors files and no index; give one of the files")
    return {name: tensor for file in files for name, tensor in read_tensors(file).items()}


def head_width(place: Path) -> int:
    """Return the width of a head from the ``config.json`` beside the weights; 128, as in all of Wan2.1, without one."""
    file = (place if place.is_dir() else place.parent) / "config.json"
    config = json.loads(file.read_text()) if file.is_file() else {}
    if "num_heads" in config and "dim" in config:  # the original release
        return int(config["dim"]) // int(config["num_heads"])
    return int(config.get("attention_head_dim", 128))


def spec_of(shape: WanShape, audio_width: int | None) -> dict[str, Any]:
    """Return the spec that builds a network of a shape, with or without audio paths."""
    numbers = {name: value for name, value in asdict(shape).items() if name != "image"}
    return {"class_path": "lpm.backbone.wan", "init_args": {**numbers, "audio_width": audio_width}}
