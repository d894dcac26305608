"""Activation checkpointing: blocks that are computed again in the backward pass instead of being remembered."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import CheckpointWrapper, checkpoint_wrapper

from lpm.backbone.dit import DiT

RECOMPUTED = "_checkpoint_wrapped_module"  # the name that PyTorch gives to a block inside its wrapper


def recomputed(network: DiT, every: int = 1) -> DiT:
    """Keep only the input of every ``every``-th block for the backward pass; return the same DiT.

    Of each such block one tensor (B, L, D) stays instead of all its activations, for a third more time (its forward
    pass is done twice). Names of weights do not change. Outputs and gradients are the same.

    Raises:
        ValueError: ``every`` is below 1.
    """
    if every < 1:
        raise ValueError(f"every of {every} is below 1; choose 1 for all blocks, 2 for every other one")
    for index in range(0, len(network.blocks), every):
        network.blocks[index] = checkpoint_wrapper(network.blocks[index])
    return network


@contextmanager
def plain_blocks(network: nn.Module) -> Iterator[None]:
    """Take recomputed blocks out of their wrappers for a while, so that modules are named as their weights are."""
    places = [(parent, name, child) for parent in network.modules() for name, child in parent.named_children()]
    wrapped = [place for place in places if isinstance(place[2], CheckpointWrapper)]
    for parent, name, wrapper in wrapped:
        setattr(parent, name, wrapper.get_submodule(RECOMPUTED))
    try:
        yield
    finally:
        for parent, name, wrapper in wrapped:
            setattr(wrapper, RECOMPUTED, getattr(parent, name))  # what stands there now, adapters and all
            setattr(parent, name, wrapper)
