"""Weights of a DiT as a folder: ``config.json`` (the spec of its builder) and safetensors, in one file or in shards."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import load_torch_model, save_torch_state_dict
from safetensors import safe_open
from torch import Tensor

from lpm.backbone.dit import DiT
from lpm.build import build

CONFIG = "config.json"
FRESH = (".audio.", "speak.", "listen.", "text.null")  # what Wan2.1 does not have


def save_dit(tensors: Mapping[str, Tensor], spec: dict[str, Any], folder: Path | str, shard: str = "5GB") -> None:
    """Write tensors of a DiT and the spec (``class_path``, ``init_args``) of its builder into ``folder``.

    ``shard`` is the largest file. The spec comes last, so that a folder with one is whole.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    save_torch_state_dict(dict(tensors), folder, max_shard_size=shard)
    (folder / CONFIG).write_text(json.dumps(spec, indent=1) + "\n")


def pretrained_dit(folder: str) -> DiT:
    """Return the DiT of a folder written by ``lpm weights convert``, in float32.

    Audio paths that the weights do not have start fresh and mute: the network equals the text-to-video model that it
    began as (LPM 1.0, Base LPM, first stage of the curriculum).

    Raises:
        ValueError: no such folder, or weights that do not fit the spec; every key that does not is listed.
    """
    where = Path(folder)
    if not (where / CONFIG).is_file():
        raise ValueError(f"{where} holds no {CONFIG}; give a folder written by `lpm weights convert`")
    network = build(json.loads((where / CONFIG).read_text()))
    if not isinstance(network, DiT):
        raise ValueError(
            f"{where} builds a {type(network).__name__}, not a DiT; give a folder of `lpm weights convert`"
        )
    network.zero_audio_()
    expected = network.state_dict()
    try:
        found: Any = load_torch_model(network, where, strict=False)
    except RuntimeError as error:  # another shape; torch lists them all
        raise ValueError(f"weights of {where} do not fit its {CONFIG}: {error}") from None
    missing = [name for name in found.missing_keys if not any(part in name for part in FRESH)]
    if missing or found.unexpected_keys:
        rows = [f"missing: {name}" for name in missing] + [f"unknown: {name}" for name in found.unexpected_keys]
        raise ValueError(f"weights of {where}: {len(rows)} of {len(expected)} keys do not fit\n" + "\n".join(rows))
    return network


class WeightFolder:
    """Weights of a DiT in a folder, read one tensor at a time.

    Raises:
        ValueError: no folder of ``lpm weights convert``.
    """

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)
        if not (self.folder / CONFIG).is_file():
            raise ValueError(f"{folder} holds no {CONFIG}; give a folder written by `lpm weights convert`")
        self.files: dict[str, Path] = {}
        for path in sorted(self.folder.glob("*.safetensors")):
            with safe_open(path, framework="pt") as file:
                self.files |= dict.fromkeys(file.keys(), path)

    def read(self, name: str) -> Tensor:
        """Return one tensor."""
        with safe_open(self.files[name], framework="pt") as file:
            return file.get_tensor(name)  # type: ignore[no-any-return]

    def shape(self, name: str) -> torch.Size:
        """Return the shape of one tensor, without reading it."""
        with safe_open(self.files[name], framework="pt") as file:
            return torch.Size(file.get_slice(name).get_shape())

    def check(self, expected: Mapping[str, Tensor]) -> None:
        """Raise ValueError unless the weights fit a network's tensors; audio paths may be missing."""
        rows = [f"missing: {n}" for n in expected if n not in self.files and not any(part in n for part in FRESH)]
        rows += [f"unknown: {name}" for name in self.files if name not in expected]
        for name in self.files.keys() & expected.keys():
            if self.shape(name) != expected[name].shape:
                rows.append(f"shape: {name} is {tuple(self.shape(name))}, not {tuple(expected[name].shape)}")
        if rows:
            raise ValueError(
                f"weights of {self.folder}: {len(rows)} of {len(expected)} keys do not fit\n" + "\n".join(sorted(rows))
            )


def count_parameters(tensors: Mapping[str, Tensor]) -> int:
    """Return the number of values in all tensors."""
    return sum(torch.Size(tensor.shape).numel() for tensor in tensors.values())
