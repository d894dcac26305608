"""Which time, and so which audio, belongs to which latent frame."""

import math

import torch
from torch import Tensor


def latent_spans(frames: int, fps: float, stride_t: int = 4) -> list[tuple[float, float]]:
    """Return start and end in seconds of each latent frame.

    Latent frame 0 is video frame 0 alone; latent frame n >= 1 holds frames ``stride_t (n - 1) + 1`` to ``stride_t n``.
    A window that begins inside a clip counts time from the last video frame of its first latent frame.

    >>> latent_spans(3, fps=4)
    [(0.0, 0.25), (0.25, 1.25), (1.25, 2.25)]
    """
    if fps <= 0:
        raise ValueError(f"frame rate of {fps} is not positive; give frames a second, such as 24")
    later = [((stride_t * (n - 1) + 1) / fps, (stride_t * n + 1) / fps) for n in range(1, frames)]
    return [(0.0, 1 / fps), *later]


def latent_states(state_BT: Tensor, stride_t: int = 4) -> Tensor:
    """Return the state of each latent frame, that of its last video frame: (B, 1 + (T - 1) / stride_t)."""
    return state_BT[:, ::stride_t]


def window_index(ends: list[float], length: float, rate: float, start: float) -> tuple[Tensor, Tensor]:
    """Return which audio tokens lie in a window of ``length`` seconds that closes at each of ``ends``.

    Every window has the same number K of tokens, and none reaches past its end (token ``a`` ends at
    ``start + (a + 1) / rate``). Index (T, K) int64, may lie outside the stream; end time of each token (T, K) float64.
    """
    last = torch.tensor([last_token(end, rate, start) for end in ends])
    index_TK = last[:, None] - torch.arange(window_tokens(length, rate) - 1, -1, -1)
    return index_TK, start + (index_TK + 1).double() / rate


def window_range(ends: list[float], length: float, rate: float, start: float, count: int) -> tuple[int, int]:
    """Return the first token of a stream of ``count`` that lies in any of the windows, and the one after the last.

    Where no window meets the stream it is one token at its end, so that there is always one. ``ends`` rise.

    >>> window_range([1.0, 2.0], length=0.5, rate=10.0, start=0.0, count=15)
    (5, 15)
    """
    first = last_token(ends[0], rate, start) - window_tokens(length, rate) + 1
    last = last_token(ends[-1], rate, start)
    return min(max(first, 0), count - 1), min(max(last, 0), count - 1) + 1


def last_token(end: float, rate: float, start: float) -> int:
    """Return the last token that ends at ``end`` or before."""
    return math.floor((end - start) * rate + 1e-6) - 1


def window_tokens(length: float, rate: float) -> int:
    """Return the tokens in a window of ``length`` seconds."""
    return max(1, round(length * rate))
