"""A model as a folder: ``config.json`` (the spec that rebuilds it) and safetensors, in one file or in shards."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import load_state_dict_from_file, save_torch_state_dict
from torch import Tensor

CONFIG = "config.json"
PATTERN = "model{suffix}.safetensors"
Spec = dict[str, Any]


def write_folder(tensors: Mapping[str, Tensor], spec: Spec, folder: Path | str, shard: str = "5GB") -> None:
    """Write tensors and the spec (``class_path``, ``init_args``) of their module into ``folder``.

    ``shard`` is the largest file. The spec comes last, so that a folder with one is whole.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CONFIG).unlink(missing_ok=True)
    save_torch_state_dict(
        {name: tensor.detach().cpu() for name, tensor in tensors.items()}, folder, max_shard_size=shard
    )
    (folder / CONFIG).write_text(json.dumps(spec, indent=1) + "\n")


def read_spec(folder: Path, only_lpm: bool = False) -> Spec:
    """Return the spec of a folder.

    Args:
        folder: as ``write_folder`` writes it.
        only_lpm: refuse classes from outside lpm: building one runs its code.

    Raises:
        ValueError: no spec, or a class from outside.
    """
    if not (folder / CONFIG).is_file():
        raise ValueError(f"{folder} holds no {CONFIG}; give a folder written by `lpm weights export`")
    try:
        spec = json.loads((folder / CONFIG).read_text())
    except json.JSONDecodeError as error:
        raise ValueError(f"{folder / CONFIG} is no JSON ({error}); fetch or export it again") from None
    if not isinstance(spec, dict) or "class_path" not in spec:
        raise ValueError(f"{folder / CONFIG} names no class_path; it was not written by `lpm weights export`")
    foreign = [path for path in class_paths(spec) if not path.startswith("lpm.")] if only_lpm else []
    if foreign:
        raise ValueError(
            f"{folder} builds {foreign[0]}, which is no part of lpm and would run code of its own; read it, fetch the "
            "repository into a folder, and give that folder if you trust it"
        )
    return spec


def class_paths(spec: Any) -> Iterator[str]:
    """Yield every class that a spec names.

    >>> list(class_paths({"class_path": "a.B", "init_args": {"c": [{"class_path": "d.E"}]}}))
    ['a.B', 'd.E']
    """
    if isinstance(spec, dict):
        if "class_path" in spec:
            yield str(spec["class_path"])
        spec = list(spec.values())
    if isinstance(spec, list):
        for value in spec:
            yield from class_paths(value)


def read_tensors(folder: Path, pattern: str = PATTERN) -> dict[str, Tensor]:
    """Return all tensors of a folder with one safetensors file, or with shards and their index.

    Raises:
        ValueError: no weights, or shards are missing.
    """
    whole = folder / pattern.format(suffix="")
    index = whole.with_name(f"{whole.name}.index.json")
    if index.is_file():
        names = sorted(set(json.loads(index.read_text())["weight_map"].values()))
    elif whole.is_file():
        names = [whole.name]
    else:
        raise ValueError(f"{folder} holds no {whole.name}; give a folder written by `lpm weights export`")
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise ValueError(
            f"{folder} lacks {len(missing)} of {len(names)} shards: {', '.join(missing)}; fetch them again"
        )
    tensors: dict[str, Tensor] = {}
    for name in names:
        tensors |= load_state_dict_from_file(folder / name, map_location="cpu")  # type: ignore[arg-type]
    return tensors
