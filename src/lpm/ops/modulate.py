"""Adaptive layer norm: the noise level of each slot of tokens scales, shifts and gates."""

import torch.nn.functional as F
from torch import Tensor


def modulate(x_BLD: Tensor, shift_BSD: Tensor, scale_BSD: Tensor, eps: float = 1e-6) -> Tensor:
    """Normalise tokens, then scale and shift them per slot: ``norm(x) (1 + scale) + shift``.

    L tokens fall into S slots of equal size (L divides by S); tokens of one latent frame share a slot.
    Source: Peebles and Xie 2023 (DiT), AdaLN.
    """
    x = F.layer_norm(x_BLD, x_BLD.shape[-1:], eps=eps).unflatten(1, (shift_BSD.shape[1], -1))
    return (x * (1 + scale_BSD.unsqueeze(2)) + shift_BSD.unsqueeze(2)).flatten(1, 2)


def add_gated(x_BLD: Tensor, update_BLD: Tensor, gate_BSD: Tensor) -> Tensor:
    """Add an update, gated per slot: ``x + gate * update``."""
    update = update_BLD.unflatten(1, (gate_BSD.shape[1], -1)) * gate_BSD.unsqueeze(2)
    return x_BLD + update.flatten(1, 2)
