"""Models out of Lightning checkpoints, without the recipe at hand."""

from pathlib import Path
from typing import Any, Protocol

import torch

from lpm.build import build
from lpm.sample.performance import PerformanceModel
from lpm.sample.pretrained import load_performance, save_performance


class Training(Protocol):
    """A LightningModule that trains a performance model."""

    model: PerformanceModel


def load_training(checkpoint: Path | str) -> tuple[Training, dict[str, Any]]:
    """Rebuild a training module from the spec in its checkpoint and load its model; return it and the spec.

    Raises:
        ValueError: no such file, no checkpoint of a recipe, or another kind of training.
    """
    path = Path(checkpoint)
    if not path.is_file():
        raise ValueError(f"checkpoint {path} is missing; give a .ckpt written by `lightning fit`, or a weights folder")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ValueError(
            f"{path} is no checkpoint ({type(error).__name__}); give a .ckpt written by `lightning fit`"
        ) from error
    if "spec" not in content:
        raise ValueError(f"{path} holds no spec; it must come from `lightning fit --config recipes/base.yaml`")
    module = build(content["spec"])
    if not isinstance(getattr(module, "model", None), PerformanceModel):
        raise ValueError(
            f"{path} is of a {type(module).__name__}, which trains no performance model; give a checkpoint of "
            "recipes/base.yaml, recipes/dpo.yaml or recipes/online"
        )
    found = content["state_dict"].items()
    module.model.load_state_dict({name[6:]: x for name, x in found if name.startswith("model.")})
    return module.eval(), content["spec"]


def load_model(source: Path | str) -> PerformanceModel:
    """Return the model of a checkpoint or of a weights folder."""
    if Path(source).is_dir():
        return load_performance(source)
    return load_training(source)[0].model


def export(checkpoint: Path, output: Path) -> None:
    """Write the weights of a checkpoint as a folder to share: config.json and model.safetensors.

    Example: lpm weights export runs/base/version_0/checkpoints/last.ckpt weights/mine

    Args:
        checkpoint: a .ckpt of recipes/base.yaml, recipes/dpo.yaml or recipes/online.
        output: folder to write.
    """
    module, spec = load_training(checkpoint)
    save_performance(module.model, spec["init_args"]["model"], output)
    print(f"wrote {output}")
