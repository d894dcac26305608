"""Spread the token sequence of a DiT over the processes of a group."""

import torch.distributed as dist

from lpm.backbone.block import Block
from lpm.backbone.dit import DiT
from lpm.backbone.share import ContextShare
from lpm.ops import Exchange, Ulysses, all_to_all, check_heads


def context_parallel(network: DiT, group: dist.ProcessGroup) -> DiT:
    """Let the processes of ``group`` hold a share of each picture's tokens, and attend by all-to-all; return the DiT.

    Activations and attention take a P-th of memory and time on each process; weights stay whole. See ``ContextShare``
    for what the processes must agree on.

    Raises:
        ValueError: the number of heads does not divide by the number of processes.
    """
    return share_sequence(network, dist.get_world_size(group), dist.get_rank(group), all_to_all(group))


def share_sequence(network: DiT, size: int, rank: int, exchange: Exchange) -> DiT:
    """Let ``network`` hold share ``rank`` of ``size``, with any exchange; ``context_parallel`` is the usual caller."""
    blocks = [module for module in network.modules() if isinstance(module, Block)]
    for block in blocks:
        check_heads(block.attention.heads, size)
    for block in blocks:
        block.attention.attend = Ulysses(size, exchange, block.attention.attend)
    network.share = ContextShare(size, rank, exchange)
    return network
