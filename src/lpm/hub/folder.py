"""A model as a folder: ``config.json`` (the spec that rebuilds it) and safetensors, in one file or in shards."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import load_state_dict_from_file, save_torch_state_dict
from torch import Tensor

from lpm.hub.trust import foreign_names

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
        only_lpm: refuse what is from outside lpm: building a class runs its code, and a file may name any.

    Raises:
        ValueError: no spec, or one that names something from outside.
    """
    if not (folder / CONFIG).is_file():
        raise ValueError(f"{folder} holds no {CONFIG}; give a folder written by `lpm weights export`")
    try:
        spec = json.loads((folder / CONFIG).read_text())
    except json.JSONDecodeError as error:
        raise ValueError(f"{folder / CONFIG} is no JSON ({error}); fetch or export it again") from None
    if not isinstance(spec, dict) or "class_path" not in spec:
        raise ValueError(f"{folder / CONFIG} names no class_path; it was not written by `lpm weights export`")
    foreign = next(foreign_names(spec), None) if only_lpm else None
    if foreign is not None:
        raise ValueError(
            f"{folder} names {foreign}, which is no part of lpm and could run code of its own; read it, fetch the "
            "repository into a folder, and give that folder if you trust it"
        )
    return spec


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
