"""Exponential moving averages of weights: of whole ones, and of sharded ones, shard by shard."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor

from lpm.backbone.recompute import RECOMPUTED
from lpm.sample.sharded import AVERAGE


class Average(WeightAveraging):
    """Average the weights over the steps, exponentially, for validation, for checkpoints, and when training ends.

    Lightning's callback for whole weights, whose ``EMAWeightAveraging`` keeps the weights of before training until it
    starts, so that a shorter trial saves those, and rounds weights that are frozen. Here the average is the weights
    until ``start``, and what does not move stays to the bit.

    Args:
        decay: share of the average that stays at each step.
        start: first step that is averaged, from 0.
    """

    def __init__(self, decay: float = 0.999, start: int = 0) -> None:
        super().__init__(avg_fn=partial(averaged, decay=check_decay(decay), start=start))


def averaged(average: Tensor, now: Tensor, steps: Tensor | int, decay: float, start: int) -> Tensor:
    """Return the average of a tensor after ``steps`` earlier ones and one more, without waiting for a device.

    >>> averaged(torch.tensor(1.0), torch.tensor(2.0), 5, decay=0.75, start=5)
    tensor(2.)
    >>> averaged(torch.tensor(1.0), torch.tensor(2.0), 6, decay=0.75, start=5)
    tensor(1.2500)
    """
    if not now.is_floating_point():
        return now
    share = torch.where(torch.as_tensor(steps, device=now.device) > start, 1 - decay, 1.0)
    return torch.lerp(average, now, share.to(now.dtype))


def check_decay(decay: float) -> float:
    """Return the decay; raise ValueError outside [0, 1)."""
    if not 0 <= decay < 1:
        raise ValueError(f"decay of {decay} is outside [0, 1); choose .999, or .99 for short runs")
    return decay


class ShardedAverage(Callback):
    """Keep an average of the trained weights, use it in validation, store it in checkpoints.

    What ``Average`` does for whole weights, for a model laid out by ``lpm.train.Sharded``: the average
    takes 4 bytes a parameter over all processes. In checkpoints it stands beside the weights, as
    ``average.<name>``; ``lpm weights export`` writes it where there is one. After training the module keeps its own
    weights.

    Args:
        decay: share of the average that stays at each step.
        start: first step that is averaged; until then the average is the weights.
    """

    def __init__(self, decay: float = 0.999, start: int = 0) -> None:
        self.decay, self.start = check_decay(decay), start
        self.average: dict[str, Tensor] = {}

    @torch.no_grad()
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin at the weights, or go on from the checkpoint of a resumed run."""
        self.average = {name: tensor.detach().clone() for name, tensor in trained(pl_module)}
        if trainer.ckpt_path is not None:
            self.restore(str(trainer.ckpt_path))

    @torch.no_grad()
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Move the average towards the weights, after each step of the optimiser."""
        if (batch_idx + 1) % trainer.accumulate_grad_batches:
            return
        share = 1 - self.decay if trainer.global_step > self.start else 1.0
        for name, tensor in trained(pl_module):
            local(self.average[name]).lerp_(local(tensor), share)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Validate with the average."""
        self.swap(pl_module)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Go back to the weights."""
        self.swap(pl_module)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Store the average beside the weights."""
        checkpoint["state_dict"] |= {f"{AVERAGE}{clean(name)}": tensor for name, tensor in self.average.items()}

    def restore(self, folder: str) -> None:
        """Read the average from a checkpoint's folder.

        Raises:
            ValueError: the checkpoint has none.
        """
        import torch.distributed.checkpoint as dcp

        stored = {f"{AVERAGE}{clean(name)}": tensor for name, tensor in self.average.items()}
        known = dcp.FileSystemReader(folder).read_metadata().state_dict_metadata
        if not all(f"state_dict.{name}" in known for name in stored):
            raise ValueError(f"{folder} holds no average; remove lpm.train.ShardedAverage, or start a new run from it")
        dcp.load({"state_dict": stored}, checkpoint_id=folder)

    @torch.no_grad()
    def swap(self, module: LightningModule) -> None:
        """Exchange the weights and their average; nothing before training began."""
        for name, tensor in trained(module) if self.average else ():
            own, mean = local(tensor), local(self.average[name])
            kept = own.clone()
            own.copy_(mean)
            mean.copy_(kept)


def trained(module: LightningModule) -> Iterator[tuple[str, Tensor]]:
    """Yield the names and shards of the parameters that are trained."""
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            yield name, parameter.data


def clean(name: str) -> str:
    """Return a parameter's name without the mark of recomputed blocks."""
    return name.replace(f"{RECOMPUTED}.", "")


def local(tensor: Tensor) -> Tensor:
    """Return this process's part of a sharded tensor, or a whole tensor itself."""
    return tensor.to_local() if hasattr(tensor, "to_local") else tensor
