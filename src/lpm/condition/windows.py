"""Streaming windows: encoders that look at a whole clip, read live (LPM 1.0, streaming inference).

Each second is encoded as the end of a window of itself and the two seconds before it. The first windows of a stream are
shorter, because nothing came before; the last one is shorter where the stream ends inside a second.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from lpm.types import SAMPLE_RATE

Encode = Callable[[Tensor], Tensor]
"""Samples (B, S) -> tokens (B, floor(S * rate / 16000), D); token ``a`` belongs to ``a / rate`` to ``(a + 1) / rate``
seconds."""


@dataclass(frozen=True)
class AudioWindow:
    """State of a stream: samples that will be heard again, then ``waiting`` samples that are not yet encoded.

    The first sample begins a token.
    """

    samples_BS: Tensor
    waiting: int = 0


@dataclass(frozen=True)
class Windows:
    """How a stream is cut into windows; it holds no state.

    Args:
        rate: tokens a second of the encoder, a divisor of 16000.
        width: features of a token.
        history: seconds of a window that were encoded before; a window begins on a token, up to one token earlier.
        fresh: seconds of a window that are new.

    Raises:
        ValueError: a rate whose tokens are not whole samples, negative history, or less than a token that is new.

    >>> loudness = lambda samples: samples.unfold(1, 320, 320).square().mean(-1, keepdim=True)
    >>> Windows(rate=50.0, width=1).encode(loudness, torch.ones(1, 40_000)).shape
    torch.Size([1, 125, 1])
    """

    rate: float
    width: int
    history: float = 2.0
    fresh: float = 1.0

    def __post_init__(self) -> None:
        if SAMPLE_RATE % self.rate:
            raise ValueError(f"{self.rate} tokens a second are not whole samples at {SAMPLE_RATE} Hz; use 50 or 12.5")
        if self.history < 0:
            raise ValueError(f"history of {self.history} s is below 0; choose history such as 2.0")
        if self.fresh * self.rate < 1:
            raise ValueError(f"fresh of {self.fresh} s is below a token of {1 / self.rate} s; choose fresh such as 1.0")

    def init_state(self, like: Tensor, batch: int) -> AudioWindow:
        """Return the state before the first sample, on the device and in the precision of a tensor."""
        return AudioWindow(like.new_zeros(batch, 0))

    def step(self, encode: Encode, samples_BS: Tensor, state: AudioWindow) -> tuple[Tensor, AudioWindow]:
        """Hear the next samples, any number; return the tokens of windows that became whole, and the next state."""
        heard, fresh = torch.cat([state.samples_BS, samples_BS.to(state.samples_BS)], dim=1), samples_of(self.fresh)
        waiting = state.waiting + samples_BS.shape[1]
        end, tokens = heard.shape[1] - waiting, [heard.new_zeros(len(heard), 0, self.width)]
        while waiting >= fresh:
            tokens.append(self._newest(encode, heard, end, end + fresh))
            end, waiting = end + fresh, waiting - fresh
        return torch.cat(tokens, dim=1), AudioWindow(heard[:, self._begin(end) :], waiting)

    def finish(self, encode: Encode, state: AudioWindow) -> Tensor:
        """Return the tokens of the samples that wait when the stream ends; what does not fill a token is dropped."""
        end = state.samples_BS.shape[1]
        return self._newest(encode, state.samples_BS, end - state.waiting, end)

    def encode(self, encode: Encode, samples_BS: Tensor) -> Tensor:
        """Encode a whole clip as a stream would: (B, floor(S * rate / 16000), D)."""
        tokens, state = self.step(encode, samples_BS, self.init_state(samples_BS, len(samples_BS)))
        return torch.cat([tokens, self.finish(encode, state)], dim=1)

    def _newest(self, encode: Encode, heard_BS: Tensor, done: int, end: int) -> Tensor:
        """Return the tokens that end after sample ``done`` and not after ``end``, encoded with their history."""
        begin, count = self._begin(done), end // self.stride - done // self.stride
        if count == 0:
            return heard_BS.new_zeros(len(heard_BS), 0, self.width)
        tokens = encode(heard_BS[:, begin:end])
        return tokens[:, tokens.shape[1] - count :]

    def _begin(self, done: int) -> int:
        """Return the sample that begins the window whose first samples, up to ``done``, were encoded before."""
        return max(0, done - samples_of(self.history)) // self.stride * self.stride

    @property
    def stride(self) -> int:
        """Samples of a token."""
        return int(SAMPLE_RATE / self.rate)


def samples_of(seconds: float) -> int:
    """Return the nearest whole number of samples."""
    return round(seconds * SAMPLE_RATE)
