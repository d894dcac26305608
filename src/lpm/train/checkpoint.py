"""Models out of Lightning checkpoints, without the recipe at hand."""

from pathlib import Path
from typing import Any

import torch

from lpm.backbone import realise
from lpm.build import build
from lpm.sample.performance import PerformanceModel
from lpm.sample.pretrained import load_performance, save_performance
from lpm.sample.sharded import is_sharded_checkpoint, read_rest, read_sharded
from lpm.train.base import BaseTraining
from lpm.train.preference import PreferenceTraining


def load_training(checkpoint: Path | str) -> tuple[BaseTraining | PreferenceTraining, dict[str, Any]]:
    """Rebuild a training module from the spec in its checkpoint and load its weights; return it and the spec.

    Raises:
        ValueError: no such file, no checkpoint of a recipe, or another kind of training.
    """
    path = Path(checkpoint)
    content = read_checkpoint(path)
    if "spec" not in content:
        raise ValueError(f"{path} holds no spec; it must come from `lightning fit --config recipes/base.yaml`")
    module = build(content["spec"])
    if not isinstance(module, BaseTraining | PreferenceTraining):
        raise ValueError(
            f"{path} trains a {type(module).__name__}, not the Base model; give a checkpoint of recipes/base.yaml or "
            "recipes/dpo.yaml"
        )
    realise(module.model)
    module.load_state_dict(content["state_dict"])
    return module.eval(), content["spec"]


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Return the content of a checkpoint, one file or a folder of shards, of the latter without optimiser state."""
    if is_sharded_checkpoint(path):
        return {**read_rest(path), "state_dict": read_sharded(path)}
    if path.is_dir() and list(path.glob("*.distcp")):
        raise ValueError(f"{path} was cut off while it was written; take the checkpoint before it")
    if not path.is_file():
        raise ValueError(f"checkpoint {path} is missing; give a .ckpt written by `lightning fit`, or a weights folder")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)  # type: ignore[no-any-return]
    except Exception as error:
        raise ValueError(
            f"{path} is no checkpoint ({type(error).__name__}); give a .ckpt written by `lightning fit`"
        ) from error


def load_model(source: Path | str) -> PerformanceModel:
    """Return the model of a checkpoint or of a weights folder."""
    if Path(source).is_dir() and not list(Path(source).glob("*.distcp")):
        return load_performance(source)
    return load_training(source)[0].model


def export(checkpoint: Path, output: Path) -> None:
    """Write the weights of a checkpoint as a folder to share: config.json and model.safetensors.

    Example: lpm weights export runs/base/version_0/checkpoints/last.ckpt weights/mine

    Args:
        checkpoint: a .ckpt of recipes/base.yaml or recipes/dpo.yaml, one file or, of a sharded training, a folder.
        output: folder to write.
    """
    module, spec = load_training(checkpoint)
    save_performance(module.model, spec["init_args"]["model"], output)
    print(f"wrote {output}")
