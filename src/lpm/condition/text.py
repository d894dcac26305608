"""Text encoders."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lpm.types import TextFeatures

STRIDE = 4


def byte_ids(text: list[str], limit: int) -> Tensor:
    """Return UTF-8 bytes plus one, zero padded to the longest row and to a multiple of ``STRIDE``: (B, N) int64."""
    rows = [row.encode("utf-8") for row in text]
    longest = max(map(len, rows), default=0)
    if longest > limit:
        raise ValueError(f"text of {longest} bytes is above the limit of {limit}; shorten the prompt to {limit} bytes")
    padded = max(STRIDE, -(-longest // STRIDE) * STRIDE)
    return torch.tensor([[byte + 1 for byte in row] + [0] * (padded - len(row)) for row in rows], dtype=torch.int64)


class ByteText(nn.Module):
    """Bytes of the prompt -> tokens of four bytes each, with two letters of context on each side.

    Needs no vocabulary and no download. An empty prompt has no real token (its mask is all False).

    Args:
        width: features of a token.
        limit: longest prompt in UTF-8 bytes.

    >>> ByteText(width=8)(["nods", ""]).mask_BL.tolist()
    [[True], [False]]
    """

    def __init__(self, width: int = 128, limit: int = 512) -> None:
        super().__init__()
        self.width, self.limit = width, limit
        self.embed = nn.Embedding(257, width, padding_idx=0)
        self.place = nn.Parameter(torch.randn(limit // STRIDE + 1, width) * 0.02)
        self.join = nn.Conv1d(width, width, kernel_size=STRIDE + 4, stride=STRIDE, padding=2)
        self.out = nn.Linear(width, width)

    def forward(self, text: list[str]) -> TextFeatures:
        """Return tokens (B, L, D) and their mask (B, L); raise ValueError for a prompt above the limit."""
        ids_BN = byte_ids(text, self.limit).to(self.place.device)
        x = F.gelu(self.join(self.embed(ids_BN).transpose(1, 2)).transpose(1, 2))
        tokens_BLD = self.out(x + self.place[: x.shape[1]])
        return TextFeatures(tokens_BLD, (ids_BN > 0).unflatten(1, (-1, STRIDE)).any(dim=2))
