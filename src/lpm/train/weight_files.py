"""Weights of other programs on disk: one file, shards with an index, or a whole model's folder."""

import json
import zipfile
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

INDEX = ".index.json"


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
        ValueError: shards are missing, several files without an index, or something else than tensors by name.
    """
    if place.is_file():
        try:
            content: Any = load_file(place) if place.suffix == ".safetensors" else load_pickle(place)
        except Exception as error:
            raise ValueError(f"{place} holds no weights that can be read: {error}") from None
        found = content.get("state_dict", content) if isinstance(content, dict) else content
        if not isinstance(found, dict):
            raise ValueError(f"{place} holds a {type(found).__name__}, not tensors by name; give a file of weights")
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


def load_pickle(file: Path) -> Any:
    """Return what ``torch.save`` wrote, tensors and plain values only; they are read when they are used."""
    return torch.load(file, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(file))


def read_config(place: Path) -> dict[str, Any]:
    """Return the ``config.json`` beside the weights; nothing without one."""
    file = (place if place.is_dir() else place.parent) / "config.json"
    return dict(json.loads(file.read_text())) if file.is_file() else {}


def head_width(place: Path) -> int:
    """Return the width of a head from the ``config.json`` beside the weights; 128, as in all of Wan2.1, without one."""
    config = read_config(place)
    if "num_heads" in config and "dim" in config:  # the original release
        return int(config["dim"]) // int(config["num_heads"])
    return int(config.get("attention_head_dim", 128))


def depth(place: Path) -> int | None:
    """Return the number of blocks from the ``config.json`` beside the weights; None without one."""
    return read_config(place).get("num_layers")
