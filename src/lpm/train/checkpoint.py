"""Models out of Lightning checkpoints, without the recipe at hand."""

from pathlib import Path
from typing import Any

import torch

from lpm.build import build
from lpm.sample.performance import PerformanceModel
from lpm.sample.pretrained import load_performance, save_performance


def load_checkpoint(checkpoint: Path | str) -> tuple[PerformanceModel, dict[str, Any]]:
    """Build the model of a training from the spec in its checkpoint and load its weights; return it and its spec.

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
    spec = content["spec"].get("init_args", {}).get("model", {})
    model = build(spec) if "class_path" in spec else None
    if not isinstance(model, PerformanceModel):
        raise ValueError(
            f"{path} comes from {content['spec'].get('class_path')}, which trains no PerformanceModel; give a checkpoint "
            "of recipes/base.yaml, recipes/dpo.yaml or recipes/online"
        )
    names = [name for name in content["state_dict"] if name.startswith("model.")]
    model.load_state_dict({name.removeprefix("model."): content["state_dict"][name] for name in names})
    return model.eval(), spec


def load_model(source: Path | str) -> PerformanceModel:
    """Return the model of a checkpoint or of a weights folder."""
    if Path(source).is_dir():
        return load_performance(source)
    return load_checkpoint(source)[0]


def export(checkpoint: Path, output: Path) -> None:
    """Write the weights of a checkpoint as a folder to share: config.json and model.safetensors.

    Example: lpm weights export runs/base/version_0/checkpoints/last.ckpt weights/mine

    Args:
        checkpoint: a .ckpt of recipes/base.yaml, recipes/dpo.yaml or one of recipes/online.
        output: folder to write.
    """
    model, spec = load_checkpoint(checkpoint)
    save_performance(model, spec, output)
    print(f"wrote {output}")
