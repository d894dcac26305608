"""Weights of a performance model as a folder: ``config.json`` (the spec) and ``model.safetensors``."""

import json
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.distributed.checkpoint.state_dict import StateDictOptions, set_model_state_dict

from lpm.backbone import realise
from lpm.build import build
from lpm.sample.performance import PerformanceModel
from lpm.sample.sharded import is_sharded_checkpoint, read_sharded

CONFIG, WEIGHTS = "config.json", "model.safetensors"


def own_weights(model: PerformanceModel) -> dict[str, Tensor]:
    """Return the model's tensors without the codec's, which are shared by all models and travel with the codec."""
    return {name: tensor for name, tensor in model.state_dict().items() if not name.startswith("codec.")}


def save_performance(model: PerformanceModel, spec: dict[str, Any], folder: Path | str) -> None:
    """Write the model's spec (``class_path`` and ``init_args``) and weights into ``folder``."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f".{WEIGHTS}.part"
    save_file({name: tensor.contiguous().cpu() for name, tensor in own_weights(model).items()}, part)
    part.replace(folder / WEIGHTS)
    (folder / CONFIG).write_text(json.dumps(spec, indent=1) + "\n")


def load_performance(folder: Path | str) -> PerformanceModel:
    """Build a model from a weights folder, in evaluation mode.

    Raises:
        ValueError: a file is missing, or the weights do not fit the spec (the first keys that differ are named).
    """
    where = Path(folder)
    for name in (CONFIG, WEIGHTS):
        if not (where / name).is_file():
            raise ValueError(f"{where} holds no {name}; give a folder written by `lpm weights export`, or a checkpoint")
    model: PerformanceModel = build(json.loads((where / CONFIG).read_text()))
    realise(model)
    load_weights(model, load_file(where / WEIGHTS))
    return model.eval()


def base_puppet() -> PerformanceModel:
    """Return the Base model with the puppet weights that ship with the package (``weights/base/README.md``)."""
    with as_file(files("lpm.sample") / "weights" / "base") as folder:
        return load_performance(folder)


def read_weights(source: Path | str) -> dict[str, Tensor]:
    """Return the model's own tensors from a weights folder or from a checkpoint of ``lightning fit``."""
    source = Path(source)
    if is_sharded_checkpoint(source):
        return own_tensors(read_sharded(source))
    if source.is_dir():
        return load_file(source / WEIGHTS)
    if not source.is_file():
        raise ValueError(f"weights {source} are missing; give a folder of `lpm weights export` or a checkpoint")
    return own_tensors(torch.load(source, map_location="cpu", weights_only=True)["state_dict"])


def own_tensors(content: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the model's own tensors from the state of a training module."""
    model = {name.removeprefix("model."): tensor for name, tensor in content.items() if name.startswith("model.")}
    return {name: tensor for name, tensor in model.items() if not name.startswith("codec.")}


def load_weights(model: PerformanceModel, tensors: dict[str, Tensor]) -> None:
    """Load all own weights of a model; ValueError names the keys that are missing, unexpected or of another shape."""
    expected = own_weights(model)
    missing, extra = sorted(expected.keys() - tensors.keys()), sorted(tensors.keys() - expected.keys())
    other = sorted(name for name in expected.keys() & tensors.keys() if expected[name].shape != tensors[name].shape)
    if missing or extra or other:
        faults = [
            f"{len(names)} {word} ({names[0]})"
            for word, names in (("missing", missing), ("unexpected", extra), ("misshapen", other))
            if names
        ]
        raise ValueError(f"weights do not fit the spec: {', '.join(faults)}; use the config.json they were saved with")
    set_model_state_dict(model, {**tensors}, options=StateDictOptions(full_state_dict=True, strict=False))
