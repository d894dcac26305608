"""Weights of a DiT as a folder: ``config.json`` (the spec of its builder) and safetensors, in one file or in shards."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import load_torch_model
from safetensors import safe_open
from torch import Tensor

from lpm.backbone.context import VOICES
from lpm.backbone.dit import DiT
from lpm.build import build
from lpm.hub import fetch, read_spec, write_folder
from lpm.nn import check_keys, shapes

CONFIG = "config.json"


def save_dit(tensors: Mapping[str, Tensor], spec: dict[str, Any], folder: Path | str, shard: str = "5GB") -> None:
    """Write tensors of a DiT and the spec (``class_path``, ``init_args``) of its builder into ``folder``.

    ``shard`` is the largest file. The spec comes last, so that a folder with one is whole.
    """
    write_folder(tensors, spec, folder, shard)


def pretrained_dit(folder: str) -> DiT:
    """Return the DiT of a folder written by ``lpm weights convert``, in float32; or of such a repository of the Hub.

    A voice of which the weights have nothing starts fresh and mute: the network equals the text-to-video model that it
    began as (LPM 1.0, Base LPM, first stage of the curriculum).

    Raises:
        ValueError: no such folder, or one that holds no DiT.
        KeysDiffer: weights that do not fit the spec; the message is a table of every key that does not.
    """
    where = fetch(folder)
    spec = read_spec(where, only_lpm=not Path(folder).is_dir())
    network = build(spec)
    if not isinstance(network, DiT):
        raise ValueError(
            f"{where} builds a {type(network).__name__}, not a DiT; give a folder of `lpm weights convert`"
        )
    network.zero_audio_()
    check_weights(network, stored_shapes(where), where)
    load_torch_model(network, where, strict=False)
    network.spec = spec
    return network


def check_weights(network: DiT, found: Mapping[str, torch.Size], folder: Path) -> None:
    """Raise KeysDiffer unless the weights found fit; what Wan2.1 lacks may be absent: a voice whole, text's null token.

    A voice of which only a part is there is no fresh one: the rest of it is missing.
    """
    tensors = network.state_dict(keep_vars=True)
    fresh = {"text.null"} - found.keys()
    for voice in VOICES:
        own = {id(parameter) for part in network.audio_path(voice) for parameter in part.parameters()}
        names = {name for name, tensor in tensors.items() if id(tensor) in own}
        if names.isdisjoint(found):
            fresh |= names
    needed = {name: shape for name, shape in shapes(tensors).items() if name not in fresh}
    check_keys(needed, found, f"weights of {folder}")


def stored_shapes(folder: Path) -> dict[str, torch.Size]:
    """Return the shape of every tensor in a folder's safetensors files, without loading them."""
    found: dict[str, torch.Size] = {}
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, "pt") as tensors:
            names = tensors.keys()  # the handle itself cannot be iterated
            found |= {name: torch.Size(tensors.get_slice(name).get_shape()) for name in names}
    return found


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

    def check(self, network: DiT) -> None:
        """Raise KeysDiffer unless the weights fit a network, see ``check_weights``."""
        check_weights(network, {name: self.shape(name) for name in self.files}, self.folder)


def count_parameters(tensors: Mapping[str, Tensor]) -> int:
    """Return the number of values in all tensors."""
    return sum(torch.Size(tensor.shape).numel() for tensor in tensors.values())
