"""Models out of Lightning checkpoints, without the recipe at hand."""

import hashlib
from collections.abc import Mapping
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from lpm.backbone import realise
from lpm.build import build
from lpm.codec.pretrained import shipped_codec
from lpm.hub.card import CARD
from lpm.nn import check_keys, shapes
from lpm.sample.adapter import base_of, load_adapter
from lpm.sample.performance import PerformanceModel
from lpm.sample.pretrained import base_puppet, is_builder, load_performance
from lpm.sample.sharded import is_sharded_checkpoint, read_rest, read_sharded
from lpm.train.codec import CodecTraining
from lpm.train.encode import tensors_hash


class Training(Protocol):
    """A LightningModule that trains a performance model."""

    model: PerformanceModel


def load_training(checkpoint: Path | str) -> tuple[Training | CodecTraining, dict[str, Any]]:
    """Rebuild a training module from the spec in its checkpoint and load what it trains; return it and the spec.

    Raises:
        ValueError: no such file, no checkpoint of a recipe, or another kind of training.
        KeysDiffer: its spec builds another network in this version of lpm; the message is a table.
    """
    path = Path(checkpoint)
    content = read_checkpoint(path)
    if "spec" not in content:
        raise ValueError(f"{path} holds no spec; it must come from `lightning fit --config recipes/base.yaml`")
    module = build(content["spec"])
    if isinstance(module, CodecTraining):
        load_same(module, content["state_dict"], path)
        return module.eval(), content["spec"]
    if not isinstance(getattr(module, "model", None), PerformanceModel):
        raise ValueError(
            f"{path} is of a {type(module).__name__}, which trains neither a performance model nor a codec; give a "
            "checkpoint of recipes/base.yaml, dpo.yaml, codec.yaml or online"
        )
    realise(module.model)
    found = content["state_dict"].items()
    load_same(module.model, {name[6:]: x for name, x in found if name.startswith("model.")}, path)
    return module.eval(), content["spec"]


def load_same(module: nn.Module, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Load a checkpoint's tensors into the module that its spec builds; KeysDiffer if lpm builds another one now."""
    what = f"{path} is of another version of lpm, train it again"
    check_keys(shapes(module.state_dict()), shapes(tensors), what)
    module.load_state_dict(tensors)


def fingerprint(source: Path | str | None) -> str:
    """Return a short hash of the files of weights, the shipped ones if None: weights written anew have another name.

    The codec that ships counts, too, since a weights folder leaves it out; the card does not. What a builder makes is
    built; a repository of the Hub counts by its name.
    """
    if source is None:
        with as_file(files("lpm.sample") / "weights" / "base") as folder:
            return fingerprint(folder)
    path, digest = Path(source), hashlib.sha256()
    if not path.exists():
        return built_fingerprint(load_performance(source)) if is_builder(source) else str(source)
    own = [path] if path.is_file() else sorted(x for x in path.rglob("*") if x.is_file() and x.name != CARD)
    with as_file(shipped_codec()) as codec:
        for part in [*own, codec]:
            with part.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:12]


def built_fingerprint(model: PerformanceModel) -> str:
    """Return the hash of a model's weights, and its guidance if it has some: another guidance performs another way."""
    scales = "".join(f"-{stream}{scale:g}" for stream, scale in sorted(model.guidance.items()))
    return tensors_hash(model.state_dict()) + scales


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Return the content of a checkpoint, one file or a folder of shards, of the latter without optimiser state."""
    if is_sharded_checkpoint(path):
        return {**read_rest(path), "state_dict": read_sharded(path)}
    if not path.is_file():
        raise ValueError(f"checkpoint {path} is missing; give a .ckpt written by `lightning fit`, or a weights folder")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)  # type: ignore[no-any-return]
    except Exception as error:
        raise ValueError(
            f"{path} is no checkpoint ({type(error).__name__}); give a .ckpt written by `lightning fit`"
        ) from error


def load_model(source: Path | str) -> PerformanceModel:
    """Return the model of a checkpoint, or of a source of ``lpm.sample.load_performance``."""
    if not is_checkpoint(source):
        return load_performance(source)
    module = load_training(source)[0]
    if isinstance(module, CodecTraining):
        raise ValueError(f"{source} trains a codec, not the Base model; give a checkpoint of recipes/base.yaml")
    return module.model


def load_performer(weights: Path | str | None = None, adapter: Path | str | None = None) -> PerformanceModel:
    """Return the model that performs.

    Args:
        weights: source of ``load_model``; if None the adapter's base, or the weights that ship with lpm.
        adapter: folder in PEFT's format or repository of the Hub, merged into the weights.

    Raises:
        ValueError: no such weights or adapter, they do not fit, or an adapter of the Hub is of a base that is neither
            a repository nor a builder of lpm.
    """
    weights = weights or (adapter and base_of(adapter))
    model = base_puppet() if weights is None else load_model(weights)
    return model if adapter is None else load_adapter(model, adapter)


def open_source(source: Path | str) -> tuple[PerformanceModel | CodecTraining, dict[str, Any], str | None]:
    """Return what a source of ``load_model`` has to export, its spec, and the weights that training began with."""
    if not is_checkpoint(source):
        model = load_performance(source)
        return model, model.spec or {}, None
    module, spec = load_training(source)
    if isinstance(module, CodecTraining):
        return module, spec, None
    return module.model, spec["init_args"]["model"], getattr(module, "start", None)


def is_checkpoint(source: Path | str) -> bool:
    """Tell a checkpoint, file or folder of shards, there or missing, from other folders, repositories and builders."""
    place = Path(source)
    return place.is_file() or place.suffix == ".ckpt" or any(place.glob("*.distcp"))
