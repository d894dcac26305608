"""Training over many processes: weights, gradients and optimiser state sharded (FSDP2), the sequence shared."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import WeightAveraging
from lightning.pytorch.strategies import ModelParallelStrategy
from lightning.pytorch.utilities.model_helpers import is_overridden
from torch import nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard, register_fsdp_forward_method

from lpm.backbone import DeferredDiT, DiT, context_parallel
from lpm.sample.performance import PerformanceModel
from lpm.sample.sharded import is_sharded_checkpoint

WHOLE = ("PerformanceReport", "PreferenceReport")  # callbacks that run the whole model on one process


class Sharded(ModelParallelStrategy):
    """FSDP2 over all processes, and groups of ``context`` processes that share each clip's token sequence.

    Each process keeps 1 / N of the weights, gradients and optimiser state of the backbone, and of the encoders of text
    and audio; a block's weights are gathered while it runs. With ``precision: bf16-mixed`` they are gathered in
    bfloat16, while the shards and the sums of gradients stay float32. Checkpoints are folders of
    torch.distributed.checkpoint, which ``lpm weights export`` reads.

    Processes of one context group read the same batches: the batch of a step holds ``N / context`` times
    ``batch_size`` clips.

    Args:
        context: processes that share one clip, neighbours on a machine; it divides the attention heads and N.
        timeout: seconds that a process waits for the others.
        process_group_backend: of torch.distributed; nccl on GPUs and gloo on CPUs if None.
    """

    def __init__(self, context: int = 1, timeout: float = 1800.0, process_group_backend: str | None = None) -> None:
        super().__init__(
            tensor_parallel_size=context,
            process_group_backend=process_group_backend,
            timeout=timedelta(seconds=timeout),
        )
        self.context = context

    def setup_environment(self) -> None:
        """Start the processes' group and its mesh.

        Raises:
            ValueError: ``context`` does not divide the processes, the training keeps its networks whole, or a callback
                needs the whole model.
        """
        count = self.num_nodes * self.num_processes
        check_context(self.context, count)
        self._data_parallel_size = count // self.context
        assert self.lightning_module is not None
        refuse_whole(self.lightning_module)
        refuse_callbacks(self.lightning_module.trainer)
        super().setup_environment()

    def load_checkpoint(self, checkpoint_path: Path | str, weights_only: bool | None = None) -> dict[str, Any]:
        """Read a checkpoint, a folder of shards or one file.

        Raises:
            ValueError: it is missing, or was cut off while it was written.
        """
        path = Path(checkpoint_path)
        if not is_sharded_checkpoint(path) and not path.is_file():
            raise ValueError(f"checkpoint {path} is missing; give a .ckpt written by `lightning fit`")
        return super().load_checkpoint(checkpoint_path, weights_only)

    @property
    def replica(self) -> tuple[int, int]:
        """Which of how many different batches this process reads."""
        return self.global_rank // self.context, self.world_size // self.context

    def lay_out(self, model: PerformanceModel) -> None:
        """Build what is deferred and shard everything that is trained, once."""
        if isinstance(model.backbone, nn.Module) and is_sharded(model.backbone):
            return
        everyone = init_device_mesh(self.root_device.type, (self.world_size,), mesh_dim_names=("everyone",))
        half = self.precision_plugin.precision == "bf16-mixed"
        model.backbone = self.shard_backbone(model.backbone, everyone, half)
        for encoder in (model.text, model.speak, model.listen):
            if isinstance(encoder, nn.Module) and any(True for _ in encoder.parameters()):
                shard(encoder, everyone)
                register_fsdp_forward_method(encoder, "forward")

    def shard_backbone(self, backbone: nn.Module, mesh: DeviceMesh, half: bool) -> DiT:
        """Return the network, sharded block by block, the sequence shared if ``context`` is above 1."""
        policy = MixedPrecisionPolicy(torch.bfloat16, torch.float32, cast_forward_inputs=False) if half else None

        def share(network: DiT) -> None:
            if self.context > 1:
                context_parallel(network, self.device_mesh["tensor_parallel"].get_group())

        if isinstance(backbone, DeferredDiT):
            network = backbone.build(share, lambda part: shard(part, mesh, policy))
        elif isinstance(backbone, DiT):
            network = backbone
            share(network)
            for part in (*network.blocks, network):
                shard(part, mesh, policy)
        else:
            raise ValueError(f"{type(backbone).__name__} is no DiT; lpm.train.Sharded shards a DiT or a DeferredDiT")
        register_fsdp_forward_method(network, "forward")  # objectives call .forward, which passes by the hooks
        return network


def check_context(context: int, count: int) -> None:
    """Raise ValueError unless ``context`` divides ``count`` processes."""
    if context < 1 or count % context:
        raise ValueError(f"context of {context} does not divide {count} processes; choose a divisor")


def shard(part: nn.Module, mesh: DeviceMesh, policy: MixedPrecisionPolicy | None = None) -> None:
    """Shard the parameters of ``part`` that are not sharded yet over all processes of ``mesh``."""
    fully_shard(part, mesh=mesh, reshard_after_forward=True, mp_policy=policy or MixedPrecisionPolicy())


def is_sharded(module: nn.Module) -> bool:
    """Tell whether any parameter of a module is a shard."""
    from torch.distributed.tensor import DTensor

    return any(isinstance(parameter, DTensor) for parameter in module.parameters())


def lay_out(module: LightningModule, model: PerformanceModel) -> None:
    """Build and place ``model`` as the trainer's strategy wants it; called by ``configure_model``."""
    strategy = module.trainer.strategy
    if isinstance(strategy, Sharded):
        strategy.lay_out(model)
    elif isinstance(strategy, ModelParallelStrategy):
        raise ValueError("ModelParallelStrategy does not know how to shard this model; use lpm.train.Sharded")
    elif isinstance(model.backbone, DeferredDiT):
        model.backbone = model.backbone.build()


def replica(trainer: Trainer | None) -> tuple[int | None, int | None]:
    """Return which of how many different batches this process reads; None where the process itself decides."""
    strategy = getattr(trainer, "strategy", None)
    return strategy.replica if isinstance(strategy, Sharded) else (None, None)


def refuse_whole(module: LightningModule) -> None:
    """Raise ValueError for a training that does not lay out its networks: each process would train its own copies."""
    if not is_overridden("configure_model", module) or getattr(module, "keeps_whole", False):
        name = type(module).__name__
        raise ValueError(f"{name} does not train on shards; use lpm.train.BaseTraining, or another strategy")


def refuse_callbacks(trainer: Trainer) -> None:
    """Raise ValueError for callbacks that cannot work on a sharded model."""
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        name = type(callback).__name__
        if isinstance(callback, WeightAveraging) or name == "StudentAverage":
            raise ValueError(f"{name} cannot average sharded weights; use lpm.train.ShardedAverage instead")
        if name in WHOLE:
            raise ValueError(
                f"{name} runs the whole model on one process, but it is sharded; remove it from the callbacks, "
                "and measure the weights that `lpm weights export` writes"
            )
