"""The chunker: samples of one voice in pieces of any length -> the audio tokens that each chunk needs."""

from dataclasses import dataclass
from math import ceil, floor
from typing import Any

import torch
from torch import Tensor

from lpm.backbone import AudioContext, AudioSummary
from lpm.backbone.context import window_seconds
from lpm.stream.chunks import Chunks
from lpm.types import SAMPLE_RATE, AudioEncoder, AudioFeatures


@dataclass
class Ear:
    """What a session knows of one voice.

    Attributes:
        waiting_BS: samples that are not encoded yet.
        state: of the encoder.
        tokens_BAD: tokens that chunks still need.
        first: place of ``tokens_BAD[:, 0]`` among all tokens of the stream.
        heard: samples encoded so far.
        history: samples of silence that the stream begins with, before video frame 0.
    """

    waiting_BS: Tensor
    state: Any
    tokens_BAD: Tensor
    first: int = 0
    heard: int = 0
    history: int = 0

    def push(self, samples_BS: Tensor) -> None:
        """Append samples (B, S), 16 kHz in [-1, 1]."""
        self.waiting_BS = torch.cat([self.waiting_BS, samples_BS.to(self.waiting_BS)], dim=1)

    def clear(self) -> None:
        """Forget the samples that no chunk has heard yet, as after an interruption; what follows comes in their place.

        The silence of the history stays: without it, all that follows would be heard too early.
        """
        self.waiting_BS = self.waiting_BS[:, : max(0, self.history - self.heard)]


@dataclass(frozen=True)
class Hearing:
    """How a voice is heard; it holds no state.

    Samples are encoded once for each chunk, at its beginning, up to the last one that the chunk depends on: however a
    stream is cut when it comes in, the encoder sees the same pieces, and the result is the same to the last bit.

    Attributes:
        encoder: streaming audio encoder.
        length: seconds of the window that a latent frame hears.
        future: seconds of that window after the latent frame.
        chunks: the stream's time.
        history: seconds of silence before video frame 0.
    """

    encoder: AudioEncoder
    length: float
    future: float
    chunks: Chunks
    history: float

    def init_ear(self, batch: int, like: Tensor) -> Ear:
        """Return the state of a voice before its first sample, on the device of ``like``."""
        silence_BS = like.new_zeros(batch, round(self.history * SAMPLE_RATE))
        no_tokens = like.new_zeros(batch, 0, self.encoder.width)
        return Ear(silence_BS, self.encoder.init_state(batch), no_tokens, history=silence_BS.shape[1])

    def missing(self, ear: Ear, chunk: int) -> int:
        """Return how many samples must still come before the chunk can begin, at least."""
        if ear.first + ear.tokens_BAD.shape[1] >= self._until(chunk):
            return 0
        return max(0, self._piece(ear, chunk) - ear.waiting_BS.shape[1])

    def hear(self, ear: Ear, chunk: int) -> AudioFeatures | None:
        """Encode what the chunk needs and return it, its time counted as a chunk's conditions do; None if samples are
        missing.

        Encoders that give tokens late, by whole windows, are fed until they do.
        """
        while ear.first + ear.tokens_BAD.shape[1] < self._until(chunk):
            count = self._piece(ear, chunk)
            if ear.waiting_BS.shape[1] < count:
                return None
            tokens_BAD, ear.state = self.encoder.step(ear.waiting_BS[:, :count], ear.state)
            ear.waiting_BS, ear.heard = ear.waiting_BS[:, count:], ear.heard + count
            ear.tokens_BAD = torch.cat([ear.tokens_BAD, tokens_BAD.to(ear.tokens_BAD)], dim=1)
        gone = max(0, self._from(chunk) - ear.first)
        ear.tokens_BAD, ear.first = ear.tokens_BAD[:, gone:], ear.first + gone
        start = ear.first / self.encoder.rate - self.history - self.chunks.begins(chunk)
        return AudioFeatures(ear.tokens_BAD, self.encoder.rate, start)

    def last_sample(self, chunk: int) -> int:
        """Return the number of samples from video frame 0 on that a chunk depends on."""
        return self._samples(self._until(chunk)) - round(self.history * SAMPLE_RATE)

    def _piece(self, ear: Ear, chunk: int) -> int:
        """Return how many samples are encoded next: up to the chunk's last, then token by token."""
        done = floor(ear.heard * self.encoder.rate / SAMPLE_RATE + 1e-6)
        return self._samples(max(self._until(chunk), done + 1)) - ear.heard

    def _samples(self, tokens: int) -> int:
        return ceil(tokens * SAMPLE_RATE / self.encoder.rate - 1e-6)

    def _until(self, chunk: int) -> int:
        """Return the number of tokens, counted from the stream's first, that a chunk needs."""
        return floor((self.chunks.ends(chunk) + self.future + self.history) * self.encoder.rate + 1e-6)

    def _from(self, chunk: int) -> int:
        """Return the first token that a chunk needs, or one before it; chunk 0 is heard with the first picture."""
        if chunk == 0:
            return 0
        until = floor((self.chunks.first_ends(chunk) + self.future + self.history) * self.encoder.rate)
        return until - ceil(self.length * self.encoder.rate) - 1


def window_of(context: AudioContext | AudioSummary, fps: float) -> tuple[float, float]:
    """Return the seconds of the window that a latent frame hears, and how many of them lie after it."""
    return window_seconds(context, fps), context.future
