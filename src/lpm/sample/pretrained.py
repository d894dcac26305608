"""Weights of a performance model: in a folder, on the Hub, in a checkpoint, or those that ship with lpm."""

from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lpm.backbone import CausalDiT
from lpm.build import build
from lpm.build.spec import is_import_path
from lpm.hub import fetch, is_repository, read_tensors
from lpm.hub.trust import FILES
from lpm.sample.performance import PerformanceModel
from lpm.sample.sharded import is_sharded_checkpoint, read_sharded
from lpm.sample.tensors import load_weights, own_weights

__all__ = [
    "base_puppet",
    "load_performance",
    "load_weights",
    "online_puppet",
    "own_weights",
    "read_weights",
    "refiner_puppet",
    "save_performance",
    "stream_puppet",
]


def save_performance(model: PerformanceModel, spec: dict[str, Any], folder: Path | str) -> None:
    """Write the model's spec (``class_path`` and ``init_args``) and weights into ``folder``."""
    model.save_pretrained(folder, spec)


def load_performance(source: Path | str) -> PerformanceModel:
    """Build a model, in evaluation mode.

    Args:
        source: a weights folder, a repository ``owner/name`` of the Hub, or the import path of a builder, such as
            ``lpm.sample.base_puppet``.

    Raises:
        ValueError: none of these, or the weights do not fit the spec (the message is a table of the keys).
    """
    if is_builder(source):
        model = build(str(source))
        if not isinstance(model, PerformanceModel):
            raise ValueError(f"{source} builds a {type(model).__name__}, not a PerformanceModel")
        return model.eval()
    return PerformanceModel.from_pretrained(source)


def base_puppet() -> PerformanceModel:
    """Return the Base model with the puppet weights that ship with the package (``weights/base/README.md``)."""
    return load_shipped("base")


def online_puppet() -> PerformanceModel:
    """Return the Online model with the puppet weights that ship with the package (``weights/online/README.md``).

    Its backbone is a ``lpm.backbone.CausalDiT``, distilled from ``base_puppet``.
    """
    return load_shipped("online")


def refiner_puppet() -> CausalDiT:
    """Return the network that refines what ``online_puppet`` makes (``weights/refiner/README.md``)."""
    network = load_shipped("refiner").backbone
    if not isinstance(network, CausalDiT):
        raise ValueError(f"the shipped refiner is a {type(network).__name__}, not a CausalDiT; install lpm anew")
    return network


def stream_puppet() -> tuple[PerformanceModel, CausalDiT | None]:
    """Return the shipped weights that stream where no others are named, and their refiner if they have one."""
    return online_puppet(), refiner_puppet()


def load_shipped(name: str) -> PerformanceModel:
    """Return the model of a folder of weights in the package.

    Raises:
        ValueError: this version ships without them.
    """
    with as_file(files("lpm.sample") / "weights" / name) as folder:
        if not folder.is_dir():
            raise ValueError(
                f"this version of lpm ships no {name} weights; name a folder of `lpm weights export` instead, from "
                "recipes/online"
            )
        return load_performance(folder)


def is_builder(source: Path | str) -> bool:
    """Tell whether a source is the import path of a builder.

    >>> is_builder("lpm.sample.base_puppet"), is_builder("runs/last.ckpt"), is_builder("last.ckpt")
    (True, False, False)
    """
    return is_import_path(str(source)) and Path(source).suffix not in FILES


def read_weights(source: Path | str) -> dict[str, Tensor]:
    """Return a model's own tensors from a checkpoint of ``lightning fit``, or from a source of ``load_performance``."""
    if is_sharded_checkpoint(Path(source)):
        tensors = of_model(read_sharded(Path(source)))
    elif Path(source).is_file():
        tensors = of_model(torch.load(source, map_location="cpu", weights_only=True)["state_dict"])
    elif is_builder(source):
        tensors = load_performance(source).state_dict()
    elif Path(source).is_dir() or is_repository(str(source)):
        tensors = read_tensors(fetch(source))
    else:
        raise ValueError(f"weights {source} are missing; give a folder of `lpm weights export` or a checkpoint")
    return {name: tensor for name, tensor in tensors.items() if not name.startswith("codec.")}


def of_model(content: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the model's tensors from the state of a training module."""
    return {name.removeprefix("model."): tensor for name, tensor in content.items() if name.startswith("model.")}
