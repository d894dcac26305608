"""How far features are from other features of the same sound, token by token."""

from torch import Tensor
from torch.nn.functional import cosine_similarity


def token_cosine(found_BAD: Tensor, truth_BAD: Tensor) -> Tensor:
    """Return the cosine similarity of each pair of tokens, (B, A)."""
    return cosine_similarity(found_BAD.double(), truth_BAD.double(), dim=-1)


def token_error(found_BAD: Tensor, truth_BAD: Tensor) -> Tensor:
    """Return the relative L2 error of each token, ``|found - truth| / |truth|``, (B, A).

    >>> import torch
    >>> token_error(torch.tensor([[[3.0, 0.0]]]), torch.tensor([[[0.0, 4.0]]])).item()
    1.25
    """
    found, truth = found_BAD.double(), truth_BAD.double()
    return (found - truth).norm(dim=-1) / truth.norm(dim=-1)


def token_unexplained(found_BAD: Tensor, truth_BAD: Tensor) -> Tensor:
    """Return the squared error of each token over the truth's mean square distance from its own mean over time, (B, A).

    0 is a perfect copy, 1 is as bad as the clip's mean token. Unlike the cosine it is not flattered by what all tokens
    of a clip share.

    >>> import torch
    >>> truth = torch.tensor([[[1.0], [3.0]]])
    >>> token_unexplained(torch.full_like(truth, 2.0), truth).tolist()
    [[1.0, 1.0]]
    """
    found, truth = found_BAD.double(), truth_BAD.double()
    spread = (truth - truth.mean(dim=1, keepdim=True)).square().sum(-1).mean(1, keepdim=True)
    return (found - truth).square().sum(-1) / spread
