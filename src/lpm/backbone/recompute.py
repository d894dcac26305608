"""Activation checkpointing: blocks that are computed again in the backward pass instead of being remembered."""

from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper

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
