"""Conditions -> what the blocks' cross-attention reads; absent streams read a learnt null token."""

from collections.abc import Sequence
from typing import Literal, TypeVar

import torch
from torch import Tensor, nn

from lpm.backbone.timing import latent_spans, window_index, window_range
from lpm.nn import mlp, send, sinusoid
from lpm.types import AudioFeatures, Conditions, TextFeatures

Voice = Literal["speak", "listen"]
VOICES: tuple[Voice, Voice] = ("speak", "listen")
INTERLEAVED: tuple[tuple[Voice, ...], ...] = (("speak",), ("listen",))
Stream = TypeVar("Stream")


class TextContext(nn.Module):
    """Prompt tokens for all frames; rows without a prompt read one null token."""

    def __init__(self, text_width: int, width: int) -> None:
        super().__init__()
        self.project = mlp(text_width, width, width)
        self.null = nn.Parameter(torch.empty(width))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the null token."""
        nn.init.normal_(self.null, std=0.02)

    def forward(self, text: TextFeatures | None, batch: int, keep_B: Tensor | None = None) -> TextFeatures:
        """Return tokens (B, 1 + L, D), the null token first, and which of them may be read.

        Prompt tokens may come in any precision: a frozen encoder is often in half.
        """
        null_B1D = self.null.expand(batch, 1, -1)
        if text is None:
            return TextFeatures(null_B1D, torch.ones(batch, 1, dtype=torch.bool, device=self.null.device))
        real_BL = text.mask_BL if keep_B is None else text.mask_BL & keep_B.to(text.mask_BL.device)[:, None]
        tokens = torch.cat([null_B1D, self.project(text.tokens_BLD.to(self.null.dtype))], dim=1)
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
        self.null = nn.Parameter(torch.empty(width))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the embedding of time and the null token."""
        nn.init.normal_(self.time.weight, std=0.02)
        nn.init.normal_(self.null, std=0.02)

    def forward(
        self, audio: AudioFeatures | None, batch: int, frames: int, fps: float, keep_B: Tensor | None = None
    ) -> Tensor:
        """Return the window of every latent frame, (B, T, K, D); tokens outside the stream are null."""
        if audio is None:
            return self.null.expand(batch, frames, 1, -1)
        length = window_seconds(self, fps)
        ends = frame_ends(frames, fps, self.stride_t)
        window_BTKD, real_BTK, time_TK = cut_windows(self.project, audio, ends, self.future, length, keep_B)
        window_BTKD = window_BTKD + self.embed_time(time_TK - torch.tensor(ends, dtype=time_TK.dtype)[:, None])
        return torch.where(real_BTK[..., None], window_BTKD, self.null)

    def embed_time(self, seconds_TK: Tensor) -> Tensor:
        """Embed when a token ends, relative to the end of the latent frame, in units of 10 ms: (T, K, D)."""
        waves = sinusoid(seconds_TK * 100, self.waves, longest=1000.0).to(self.null.dtype)
        return self.time(send(waves, self.null.device))


class AudioSummary(nn.Module):
    """The audio window of each latent frame, summarised by a small network into a few tokens.

    Four frames of lips need sound at four times, and reading it by attention takes as many heads as there are times to
    tell apart. Here a perceptron over the whole window, whose places are fixed, does that once for each latent frame,
    and the patches choose among its answers. Source: the audio projection of Hallo (Xu et al. 2024), over the paper's
    window.

    Args:
        audio_width: width of the encoder's tokens.
        width: width of the backbone.
        past: seconds heard before a latent frame begins.
        future: seconds heard after it ends; the look-ahead a stream must wait for.
        rate: audio tokens a second.
        tokens: tokens of a summary.
        narrow: width of the window's tokens before they are joined.
        span: seconds in a latent frame; at other frame rates the window keeps its length, and ``past`` gives way.
    """

    def __init__(
        self,
        audio_width: int,
        width: int,
        past: float,
        future: float,
        rate: float,
        tokens: int = 4,
        narrow: int = 64,
        span: float = 4 / 24,
        stride_t: int = 4,
    ) -> None:
        super().__init__()
        self.length, self.future, self.rate = past + span + future, future, rate
        self.tokens, self.stride_t = tokens, stride_t
        self.count = max(1, round(self.length * rate))
        self.project = nn.Linear(audio_width, narrow)
        self.null = nn.Parameter(torch.empty(narrow))
        self.reset_parameters()
        self.summarise = mlp(self.count * narrow, 2 * width, tokens * width)
        self.norm = nn.LayerNorm(width)

    def reset_parameters(self) -> None:
        """Draw the null token."""
        nn.init.normal_(self.null, std=0.02)

    def forward(
        self, audio: AudioFeatures | None, batch: int, frames: int, fps: float, keep_B: Tensor | None = None
    ) -> Tensor:
        """Return the summary of every latent frame's window, (B, T, tokens, D); parts without sound are null."""
        if audio is None:
            window_BTKD = self.null.expand(batch, frames, self.count, -1)
        elif audio.rate != self.rate:
            raise ValueError(f"audio comes at {audio.rate:g} tokens a second, not {self.rate:g}; use the same rate")
        else:
            ends = frame_ends(frames, fps, self.stride_t)
            window_BTKD, real_BTK, _ = cut_windows(self.project, audio, ends, self.future, self.length, keep_B)
            window_BTKD = torch.where(real_BTK[..., None], window_BTKD, self.null)
        return self.norm(self.summarise(window_BTKD.flatten(2)).unflatten(-1, (self.tokens, -1)))


Heard = tuple[Tensor | None, Tensor | None]
"""What each latent frame hears of the character's voice and of the partner's, (B, T, K, D): for even and odd blocks."""


def heard_by(
    hears: Sequence[Sequence[Voice]], block: int, streams: tuple[Stream | None, Stream | None]
) -> list[Stream]:
    """Return which of (speak, listen) a block hears, in this order, without those that are None.

    ``hears`` names the voices of each block and is repeated over the depth.
    """
    wanted = hears[block % len(hears)]
    return [stream for name, stream in zip(VOICES, streams, strict=True) if name in wanted and stream is not None]


def read_conditions(
    text: TextContext,
    speak: AudioContext | AudioSummary | None,
    listen: AudioContext | AudioSummary | None,
    conditions: Conditions,
    batch: int,
    frames: int,
    fps: float,
) -> tuple[TextFeatures, Heard]:
    """Return what cross-attention reads in ``frames`` latent frames, of which frame 0 is one video frame."""
    keep = conditions.keep
    voice = None if speak is None else speak(conditions.speak, batch, frames, fps, keep.get("speak"))
    partner = None if listen is None else listen(conditions.listen, batch, frames, fps, keep.get("listen"))
    return text(conditions.text, batch, keep.get("text")), (voice, partner)


def frame_ends(frames: int, fps: float, stride_t: int) -> list[float]:
    """Return when each latent frame ends, in seconds."""
    return [end for _, end in latent_spans(frames, fps, stride_t)]


def window_seconds(part: AudioContext | AudioSummary, fps: float) -> float:
    """Return the length of the window that a latent frame hears, in seconds."""
    return part.length if isinstance(part, AudioSummary) else part.past + part.stride_t / fps + part.future


def cut_windows(
    project: nn.Module, audio: AudioFeatures, ends: list[float], future: float, length: float, keep_B: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Cut the window of ``length`` seconds that closes ``future`` seconds after each of ``ends``, and project it.

    Only tokens between the first and the last window are projected, so that a chunk of an hour costs what it costs in
    a short clip. Returns tokens (B, T, K, D); which of them lie inside the stream, and in rows that are kept, (B or 1,
    T, K); and when each ends in seconds, (T, K) float64.
    """
    ends = [end + future for end in ends]
    index_TK, time_TK = window_index(ends, length, audio.rate, audio.start)
    count, device = audio.tokens_BAD.shape[1], audio.tokens_BAD.device
    real_BTK = send(((index_TK >= 0) & (index_TK < count))[None], device)
    if keep_B is not None:
        real_BTK = real_BTK & keep_B.to(device)[:, None, None]
    first, last = window_range(ends, length, audio.rate, audio.start, count)
    tokens_BAD = project(audio.tokens_BAD[:, first:last])
    picked = send(index_TK.clamp(first, last - 1) - first, device)
    window_BTKD = tokens_BAD.index_select(1, picked.flatten()).unflatten(1, picked.shape)
    return window_BTKD, real_BTK, time_TK
