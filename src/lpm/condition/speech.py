"""Causal, streamable audio encoders.

Timing: token ``a`` is made of audio up to ``(a + 1) / rate`` seconds and nothing later: no look-ahead. How much later
audio a video frame may hear is decided by the audio window of the backbone.
"""

import functools
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lpm.types import SAMPLE_RATE, AudioEncoder, AudioFeatures

HOP = 160
FRAME = 400
KERNEL = 5
PIECE = 10 * SAMPLE_RATE
MEL_RATE = SAMPLE_RATE / HOP


@functools.cache
def mel_filters(mels: int, low: float = 20.0, high: float = 8000.0) -> Tensor:
    """Return triangular filters evenly spaced in mel (HTK: 2595 log10(1 + f / 700)): (FRAME // 2 + 1, mels)."""
    bounds = torch.tensor([low, high], dtype=torch.float64)
    low_mel, high_mel = (2595 * torch.log10(1 + bounds / 700)).tolist()
    corners = 700 * (10 ** (torch.linspace(low_mel, high_mel, mels + 2, dtype=torch.float64) / 2595) - 1)
    bins = torch.linspace(0, SAMPLE_RATE / 2, FRAME // 2 + 1, dtype=torch.float64)[:, None]
    rise = (bins - corners[:-2]) / (corners[1:-1] - corners[:-2])
    fall = (corners[2:] - bins) / (corners[2:] - corners[1:-1])
    return torch.minimum(rise, fall).clamp_min(0)


def log_mel(frames_BAS: Tensor, mels: int) -> Tensor:
    """Return normalised log-mel energies of frames of ``FRAME`` samples, in float32 or better: (B, A, mels).

    Normalisation is fixed, ``log(energy + 1e-5) / 4 + 1``: silence is about -1.9, loud speech about 1.5.
    """
    dtype = torch.float64 if frames_BAS.dtype == torch.float64 else torch.float32
    device = frames_BAS.device
    if frames_BAS.shape[1] == 0:  # a Fourier transform of nothing is an error in some builds of PyTorch
        return frames_BAS.new_zeros(len(frames_BAS), 0, mels, dtype=dtype)
    with torch.autocast(device.type, enabled=False):
        window = torch.hann_window(FRAME, dtype=dtype, device=device)
        power = torch.fft.rfft(frames_BAS.to(dtype) * window).abs().square()
        return (power @ mel_filters(mels).to(device, dtype) + 1e-5).log() / 4 + 1


def take_frames(samples_BS: Tensor, size: int, hop: int) -> tuple[Tensor, Tensor]:
    """Cut all whole frames along the last axis: frames (..., A, size) and what the next frames still need."""
    count = max(0, (samples_BS.shape[-1] - size) // hop + 1)
    if count == 0:
        return samples_BS.new_zeros(*samples_BS.shape[:-1], 0, size), samples_BS
    return samples_BS.unfold(-1, size, hop)[..., :count, :], samples_BS[..., count * hop :]


class CausalConv(nn.Module):
    """1-D convolution whose output ``a`` sees inputs up to ``(a + 1) * stride - 1``; the caller holds its state."""

    def __init__(self, width_in: int, width_out: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.overlap = kernel - stride
        self.conv = nn.Conv1d(width_in, width_out, kernel, stride)

    def init_state(self, batch: int) -> Tensor:
        """Return the zeros before the first input: (batch, width, overlap)."""
        return self.conv.weight.new_zeros(batch, self.conv.in_channels, self.overlap)

    def step(self, x_BDA: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Convolve the next inputs; inputs that do not fill a stride wait in the state."""
        x = torch.cat([state, x_BDA], dim=-1)
        kernel, stride = self.conv.kernel_size[0], self.conv.stride[0]
        count = max(0, (x.shape[-1] - kernel) // stride + 1)
        if count == 0:
            return x.new_zeros(x.shape[0], self.conv.out_channels, 0), x
        return self.conv(x[..., : (count - 1) * stride + kernel]), x[..., count * stride :]


def causal(convs: nn.ModuleList) -> list[CausalConv]:
    """Return the list with its type."""
    return [conv for conv in convs if isinstance(conv, CausalConv)]


class LogMelEncoder(nn.Module):
    """Log-mel energies at 100 Hz, then causal convolutions down to ``rate`` tokens a second.

    Args:
        width: features of a token.
        rate: 100 Hz divided by a power of two: 50 for lips, 12.5 for the course of what the partner says.
        mels: mel bands.
        blocks: residual blocks on the tokens, each of which hears ``KERNEL - 1`` tokens further back.

    >>> LogMelEncoder(width=8, rate=50)(torch.zeros(2, 16_000)).shape
    torch.Size([2, 50, 8])
    """

    def __init__(self, width: int = 128, rate: float = 50.0, mels: int = 64, blocks: int = 0) -> None:
        super().__init__()
        halvings = math.log2(MEL_RATE / rate) if rate > 0 else -1.0
        if halvings < 0 or halvings != int(halvings):
            raise ValueError(f"audio token rate of {rate} Hz is not 100 / 2^n; choose 100, 50, 25, 12.5 or 6.25")
        if blocks < 0:
            raise ValueError(f"{blocks} blocks; choose 0 or more")
        self.width, self.rate, self.mels = width, rate, mels
        strided = [CausalConv(width, width, kernel=4, stride=2) for _ in range(int(halvings))]
        self.convs = nn.ModuleList([CausalConv(mels, width, kernel=3), *strided])
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in self.convs)
        self.blocks = nn.ModuleList(CausalConv(width, width, KERNEL) for _ in range(blocks))
        self.block_norms = nn.ModuleList(nn.LayerNorm(width) for _ in self.blocks)
        self.out = nn.Linear(width, width)

    def init_state(self, batch: int) -> tuple[Tensor, ...]:
        """Return the state before the first sample: silence."""
        parameter = self.out.weight
        samples = parameter.new_zeros(batch, FRAME - HOP)
        return (samples, *(conv.init_state(batch) for conv in causal(self.convs) + causal(self.blocks)))

    def step(self, samples_BS: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Encode the next samples, any number of them; return the tokens that became complete and the next state."""
        waiting, *conv_states = state
        block_states = conv_states[len(self.convs) :]
        frames, waiting = take_frames(torch.cat([waiting, samples_BS.to(waiting)], dim=-1), FRAME, HOP)
        x = log_mel(frames, self.mels).to(waiting.dtype).transpose(1, 2)
        next_state = [waiting]
        for conv, norm, conv_state in zip(causal(self.convs), self.norms, conv_states):
            x, conv_state = conv.step(x, conv_state)
            x = F.gelu(norm(x.transpose(1, 2)).transpose(1, 2))
            next_state.append(conv_state)
        for conv, norm, conv_state in zip(causal(self.blocks), self.block_norms, block_states, strict=True):
            more, conv_state = conv.step(norm(x.transpose(1, 2)).transpose(1, 2), conv_state)
            x = x + F.gelu(more)
            next_state.append(conv_state)
        return self.out(x.transpose(1, 2)), tuple(next_state)

    def finish(self, state: tuple[Tensor, ...]) -> Tensor:
        """Return the tokens that are left when the stream ends: none, for each came when it was complete."""
        return self.out.weight.new_zeros(len(state[0]), 0, self.width)

    def forward(self, samples_BS: Tensor) -> Tensor:
        """Encode 16 kHz samples (B, S) in [-1, 1] to tokens (B, floor(S * rate / 16000), D)."""
        return self.step(samples_BS, self.init_state(samples_BS.shape[0]))[0]


def audio_features(encoder: AudioEncoder, samples_BS: Tensor, history: float) -> AudioFeatures:
    """Encode a waveform that begins ``history`` seconds before video frame 0.

    Long ones are encoded piece by piece, so that memory grows with their tokens alone, unless the encoder is to hear
    clips as a whole (``PretrainedAudio(windowed=False)``).
    """
    if samples_BS.shape[1] <= 2 * PIECE or not getattr(encoder, "windowed", True):
        return AudioFeatures(encoder.forward(samples_BS), rate=encoder.rate, start=-history)
    state, tokens = encoder.init_state(len(samples_BS)), []
    for piece_BS in samples_BS.split(PIECE, dim=1):
        new_BAD, state = encoder.step(piece_BS, state)
        tokens.append(new_BAD)
    return AudioFeatures(torch.cat([*tokens, encoder.finish(state)], dim=1), rate=encoder.rate, start=-history)
