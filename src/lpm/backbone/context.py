"""Conditions -> what the blocks' cross-attention reads; absent streams read a learnt null token."""

import torch
from torch import Tensor, nn

from lpm.backbone.timing import latent_spans, window_index
from lpm.nn import mlp, sinusoid
from lpm.types import AudioFeatures, TextFeatures


class TextContext(nn.Module):
    """Prompt tokens for all frames; rows without a prompt read one null token."""

    def __init__(self, text_width: int, width: int) -> None:
        super().__init__()
        self.project = mlp(text_width, width, width)
        self.null = nn.Parameter(torch.randn(width) * 0.02)

    def forward(self, text: TextFeatures | None, batch: int, keep_B: Tensor | None = None) -> TextFeatures:
        """Return tokens (B, 1 + L, D), the null token first, and which of them may be read."""
        null_B1D = self.null.expand(batch, 1, -1)
        if text is None:
            return TextFeatures(null_B1D, torch.ones(batch, 1, dtype=torch.bool, device=self.null.device))
        real_BL = text.mask_BL if keep_B is None else text.mask_BL & keep_B.to(text.mask_BL.device)[:, None]
        tokens = torch.cat([null_B1D, self.project(text.tokens_BLD)], dim=1)
        return TextFeatures(tokens, torch.cat([~real_BL.any(dim=1, keepdim=True), real_BL], dim=1))


class AudioContext(nn.Module):
    """Audio tokens in a window around each latent frame: cost is linear in the length of the clip.

    Args:
        audio_width: width of the encoder's tokens.
        width: width of the backbone.
        past: seconds heard before a latent frame begins.
        future: seconds heard after it ends; the look-ahead a stream must wait for.
        stride_t: video frames in a latent frame.
    """

    def __init__(self, audio_width: int, width: int, past: float, future: float, stride_t: int = 4) -> None:
        super().__init__()
        self.past, self.future, self.stride_t, self.waves = past, future, stride_t, 64
        self.project = nn.Sequential(mlp(audio_width, width, width), nn.LayerNorm(width))
        self.time = nn.Linear(self.waves, width)
        nn.init.normal_(self.time.weight, std=0.02)
        self.null = nn.Parameter(torch.randn(width) * 0.02)

    def forward(
        self, audio: AudioFeatures | None, batch: int, frames: int, fps: float, keep_B: Tensor | None = None
    ) -> Tensor:
        """Return the window of every latent frame, (B, T, K, D); tokens outside the stream are null."""
        if audio is None:
            return self.null.expand(batch, frames, 1, -1)
        ends = [end for _, end in latent_spans(frames, fps, self.stride_t)]
        length = self.past + self.stride_t / fps + self.future
        index_TK, time_TK = window_index([end + self.future for end in ends], length, audio.rate, audio.start)
        real_BTK = self._real(index_TK, audio.tokens_BAD.shape[1], keep_B)
        tokens_BAD = self.project(audio.tokens_BAD)
        picked = index_TK.clamp(0, tokens_BAD.shape[1] - 1).to(tokens_BAD.device)
        window_BTKD = tokens_BAD.index_select(1, picked.flatten()).unflatten(1, picked.shape)
        window_BTKD = window_BTKD + self.embed_time(time_TK - torch.tensor(ends, dtype=time_TK.dtype)[:, None])
        return torch.where(real_BTK[..., None].to(self.null.device), window_BTKD, self.null)

    def embed_time(self, seconds_TK: Tensor) -> Tensor:
        """Embed when a token ends, relative to the end of the latent frame, in units of 10 ms: (T, K, D)."""
        return self.time(sinusoid(seconds_TK * 100, self.waves, longest=1000.0).to(self.null))

    @staticmethod
    def _real(index_TK: Tensor, length: int, keep_B: Tensor | None) -> Tensor:
        inside_1TK = ((index_TK >= 0) & (index_TK < length))[None]
        return inside_1TK if keep_B is None else inside_1TK & keep_B.cpu()[:, None, None]
