"""Checkpoints that many processes wrote: a folder of torch.distributed.checkpoint, read by one process."""

from pathlib import Path
from typing import Any
from zipfile import is_zipfile

import torch
import torch.distributed.checkpoint as dcp
from torch import Tensor
from torch.distributed.checkpoint.metadata import TensorStorageMetadata

STATE, REST, AVERAGE = "state_dict", "meta.pt", "average."


def is_sharded_checkpoint(path: Path) -> bool:
    """Tell whether a path is a folder of shards.

    Raises:
        ValueError: it was cut off while it was written: ``.metadata`` comes behind the shards, ``meta.pt`` last.
    """
    if not any(path.glob("*.distcp")):
        return False
    if not (path / ".metadata").is_file() or not is_zipfile(path / REST):
        raise ValueError(f"{path} was cut off while it was written; take the checkpoint before it")
    return True


def read_sharded(path: Path) -> dict[str, Tensor]:
    """Return the whole weights of a training module from its shards, without the optimiser's state.

    Where ``lpm.train.ShardedAverage`` kept an average, that is what is returned.
    """
    known = dcp.FileSystemReader(path).read_metadata().state_dict_metadata
    tensors = {
        name.removeprefix(f"{STATE}."): torch.empty(entry.size, dtype=entry.properties.dtype)
        for name, entry in known.items()
        if name.startswith(f"{STATE}.") and isinstance(entry, TensorStorageMetadata)
    }
    averaged = {name.removeprefix(AVERAGE) for name in tensors if name.startswith(AVERAGE)}
    wanted = {name: tensor for name, tensor in tensors.items() if name not in averaged}
    dcp.load({STATE: wanted}, checkpoint_id=path, no_dist=True)
    return {name.removeprefix(AVERAGE): tensor for name, tensor in wanted.items()}


def read_rest(path: Path) -> dict[str, Any]:
    """Return what else a checkpoint of shards holds: the spec, the place in the data, the steps done."""
    return torch.load(path / REST, map_location="cpu", weights_only=True)  # type: ignore[no-any-return]
