"""Wan2.1's video autoencoder: causal 3-D convolutions, whole or streamed with the same result."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from lightning.pytorch import LightningModule
from torch import Tensor, nn

from lpm.codec.groups import check_rows, check_video
from lpm.hub import Spec, from_pretrained, load_fitting, push_to_hub, save_pretrained, share_all

# Mean and deviation of Wan2.1's latents, from the published configuration of its autoencoder.
MEAN: tuple[float, ...] = (-0.7571, -0.7089, -0.9113, 0.1075, -0.1745, 0.9653, -0.1517, 1.5508)
MEAN += (0.4134, -0.0715, 0.5517, -0.3632, -0.1922, -0.9497, 0.2503, -0.2921)
DEVIATION: tuple[float, ...] = (2.8184, 1.4541, 2.3275, 2.6558, 1.2196, 1.7708, 2.6052, 2.0743)
DEVIATION += (3.2687, 2.1526, 2.8652, 1.5579, 1.6382, 1.1253, 2.8251, 1.9160)


@dataclass(frozen=True)
class WanState:
    """What streaming remembers: the last inputs of every layer that looks back, in order; none before frame 0."""

    batch: int
    memory: tuple[Tensor, ...] = ()


class Tape:
    """Hands every layer what it remembers and collects what it will."""

    def __init__(self, state: WanState) -> None:
        self.before: Iterator[Tensor] = iter(state.memory)
        self.batch, self.after = state.batch, list[Tensor]()

    def take(self) -> Tensor | None:
        """Return what the next layer remembers; None at the start of a stream."""
        return next(self.before, None)

    def keep(self, value: Tensor) -> None:
        """Remember a value for the layer, apart from the larger tensor that it may be a view of."""
        self.after.append(value.clone())

    def state(self) -> WanState:
        """Return the next state."""
        return WanState(self.batch, tuple(self.after))


class CausalConv(nn.Conv3d):
    """3 x 3 x 3 convolution that sees its own frame and the two before; zeros before the first."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__(channels_in, channels_out, 3, padding=(0, 1, 1))

    def forward(self, x_BCTYX: Tensor, tape: Tape) -> Tensor:  # type: ignore[override]
        past = tape.take()
        x = torch.cat([torch.zeros_like(_two(x_BCTYX)) if past is None else past, x_BCTYX], dim=2)
        tape.keep(x[:, :, -2:])
        return super().forward(x)


class ChannelNorm(nn.Module):
    """Channels scaled to unit root mean square, times a gain."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(channels))

    def forward(self, x_BCTYX: Tensor) -> Tensor:
        fine = torch.promote_types(x_BCTYX.dtype, torch.float32)
        unit = F.normalize(x_BCTYX.to(fine), dim=1).to(x_BCTYX.dtype)
        return unit * len(self.gain) ** 0.5 * self.gain[:, None, None, None]


class Residual(nn.Module):
    """Norm, SiLU, convolution, twice, around a skip."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.norm_1, self.convolve_1 = ChannelNorm(channels_in), CausalConv(channels_in, channels_out)
        self.norm_2, self.convolve_2 = ChannelNorm(channels_out), CausalConv(channels_out, channels_out)
        self.skip = nn.Conv3d(channels_in, channels_out, 1) if channels_in != channels_out else nn.Identity()

    def forward(self, x: Tensor, tape: Tape) -> Tensor:
        inner = self.convolve_1(F.silu(self.norm_1(x)), tape)
        return self.skip(x) + self.convolve_2(F.silu(self.norm_2(inner)), tape)


class FrameAttention(nn.Module):
    """Self-attention with one head within each frame."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = ChannelNorm(channels)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.out = nn.Linear(channels, channels)

    def forward(self, x_BCTYX: Tensor, tape: Tape) -> Tensor:
        tokens = rearrange(self.norm(x_BCTYX), "b c t y x -> (b t) 1 (y x) c")
        seen = self.out(F.scaled_dot_product_attention(*self.qkv(tokens).chunk(3, dim=-1)))
        batch, _, _, height, _ = x_BCTYX.shape
        return x_BCTYX + rearrange(seen, "(b t) 1 (y x) c -> b c t y x", b=batch, y=height)


class Down(nn.Module):
    """Halve the sides and, with ``time``, every two frames after the first into one."""

    def __init__(self, channels: int, time: bool) -> None:
        super().__init__()
        self.space = nn.Conv2d(channels, channels, 3, stride=2)
        self.time = nn.Conv3d(channels, channels, (3, 1, 1), stride=(2, 1, 1)) if time else None

    def forward(self, x_BCTYX: Tensor, tape: Tape) -> Tensor:
        x = by_frame(self.space, F.pad(x_BCTYX, (0, 1, 0, 1)))
        if self.time is None:
            return x
        past = tape.take()
        tape.keep(x[:, :, -1:])
        if past is not None:
            return self.time(torch.cat([past, x], dim=2))
        return x if x.shape[2] == 1 else torch.cat([x[:, :, :1], self.time(x)], dim=2)


class Up(nn.Module):
    """Double the sides and, with ``time``, every frame after the first; halves the channels."""

    def __init__(self, channels: int, time: bool) -> None:
        super().__init__()
        self.space = nn.Conv2d(channels, channels // 2, 3, padding=1)
        self.time = nn.Conv3d(channels, 2 * channels, (3, 1, 1)) if time else None

    def forward(self, x_BCTYX: Tensor, tape: Tape) -> Tensor:
        x = x_BCTYX if self.time is None else self._double(x_BCTYX, self.time, tape)
        return by_frame(lambda frames: self.space(F.interpolate(frames, scale_factor=2.0, mode="nearest-exact")), x)

    @staticmethod
    def _double(x_BCTYX: Tensor, time: nn.Conv3d, tape: Tape) -> Tensor:
        past = tape.take()
        alone, moving = (x_BCTYX[:, :, :1], x_BCTYX[:, :, 1:]) if past is None else (x_BCTYX[:, :, :0], x_BCTYX)
        past = past if past is not None else torch.zeros_like(_two(x_BCTYX))  # the first frame is not looked back at
        seen = torch.cat([past, moving], dim=2)
        tape.keep(seen[:, :, -2:])
        if not moving.shape[2]:
            return alone
        return torch.cat([alone, rearrange(time(seen), "b (s c) t y x -> b c (t s) y x", s=2)], dim=2)


class Half(nn.Module):
    """Encoder or decoder: convolution, a body of layers, norm and convolution."""

    def __init__(self, channels_in: int, body: list[nn.Module], channels_out: int, widths: tuple[int, int]) -> None:
        super().__init__()
        self.first, self.body = CausalConv(channels_in, widths[0]), nn.ModuleList(body)
        self.norm, self.last = ChannelNorm(widths[1]), CausalConv(widths[1], channels_out)

    def forward(self, x_BCTYX: Tensor, tape: Tape) -> Tensor:
        x = self.first(x_BCTYX, tape)
        for layer in self.body:
            x = layer(x, tape)
        return self.last(F.silu(self.norm(x)), tape)


class WanCodec(LightningModule):
    """Wan2.1's autoencoder: 8x8 in space, 4x in time, frame 0 alone, 16 channels of about unit variance.

    Other than with ``TinyCodec``, a latent frame depends on all frames before it. Encoding returns the posterior's
    mean. Results have the precision of what was passed, whatever that of the weights. Weights come from
    ``lpm.codec.wan_codec``.

    Args:
        width: channels at full resolution; 96 in Wan2.1.
        multiples: channels at each halving, in widths.
        blocks: residual blocks at each level of the encoder; one more in the decoder.
        channels: latent channels.
        mean: of the latents per channel; Wan2.1's if None.
        deviation: of the latents per channel; Wan2.1's if None.

    >>> codec = WanCodec(width=8)
    >>> latents = codec.encode(torch.zeros(1, 5, 3, 16, 24))
    >>> latents.shape, codec.decode(latents).shape
    (torch.Size([1, 2, 16, 2, 3]), torch.Size([1, 5, 3, 16, 24]))

    Source: Wan team 2025, "Wan: Open and Advanced Large-Scale Video Generative Models", section on the VAE.
    """

    stride_t = 4
    stride_s = 8
    pipeline_tag = "video-to-video"
    from_pretrained = classmethod(from_pretrained)  # type: ignore[var-annotated]
    save_pretrained, push_to_hub = save_pretrained, push_to_hub
    shared, load_shared = share_all, load_fitting

    def __init__(
        self,
        width: int = 96,
        multiples: tuple[int, int, int, int] = (1, 2, 4, 4),
        blocks: int = 2,
        channels: int = 16,
        mean: list[float] | None = None,
        deviation: list[float] | None = None,
    ) -> None:
        super().__init__()
        self.channels, self.width, self.multiples, self.blocks = channels, width, multiples, blocks
        sizes = {"width": width, "multiples": list(multiples), "blocks": blocks, "channels": channels}
        numbers = {"mean": mean, "deviation": deviation}
        self.spec: Spec | None = {"class_path": "lpm.codec.WanCodec", "init_args": sizes | numbers}
        levels = [width * multiple for multiple in multiples]
        deepest = levels[-1]
        self.encoder = Half(3, [*down_layers(width, levels, blocks), *middle(deepest)], 2 * channels, (width, deepest))
        self.to_latent = nn.Conv3d(2 * channels, 2 * channels, 1)
        self.from_latent = nn.Conv3d(channels, channels, 1)
        up = up_layers(levels[::-1], blocks + 1)
        self.decoder = Half(channels, [*middle(deepest), *up], 3, (deepest, width * multiples[0]))
        self.mean: Tensor
        self.deviation: Tensor
        for name, values, usual in (("mean", mean, MEAN), ("deviation", deviation, DEVIATION)):
            found = torch.tensor(values or usual)
            if len(found) != channels:
                raise ValueError(f"{len(found)} numbers as {name} of {channels} latent channels; give one for each")
            self.register_buffer(name, found[:, None, None], persistent=False)

    def forward(self, video_BTCHW: Tensor) -> Tensor:
        """Return the reconstruction of a whole clip, (B, T, 3, H, W)."""
        return self.decode(self.encode(video_BTCHW))

    def encode(self, video_BTCHW: Tensor) -> Tensor:
        """Return latents (B, 1 + (T - 1) / 4, C, H / 8, W / 8) of pixels in [-1, 1].

        Raises:
            ValueError: T is not 1 + 4k, or H or W does not divide by 8.
        """
        return self.encode_step(video_BTCHW, self.init_encode_state(len(video_BTCHW)))[0]

    def encode_frames(self, frames_NCHW: Tensor) -> Tensor:
        """Return the latent frame (N, C, H / 8, W / 8) of each picture alone, as if it were the first of a clip."""
        return self.encode(frames_NCHW[:, None])[:, 0]

    def decode(self, latents_BTCYX: Tensor) -> Tensor:
        """Return video (B, 1 + (T - 1) * 4, 3, Y * 8, X * 8), near but not clamped to [-1, 1]."""
        return self.decode_step(latents_BTCYX, self.init_decode_state(len(latents_BTCYX)))[0]

    def init_encode_state(self, batch: int) -> WanState:
        """Return the state before the first frame."""
        return WanState(batch)

    def encode_step(self, video_BTCHW: Tensor, state: WanState) -> tuple[Tensor, WanState]:
        """Encode the next frames: 1 + 4k of them at the start of a stream, 4k later.

        Return latents and the next state. Frames pass in pieces of one latent frame each, to bound memory.
        """
        check_rows(len(video_BTCHW), state.batch)
        check_video(video_BTCHW, self.stride_t, self.stride_s, first=not state.memory)
        first = 0 if state.memory else 1
        lengths = [1] * first + [self.stride_t] * ((video_BTCHW.shape[1] - first) // self.stride_t)
        latents = []
        for piece in video_BTCHW.to(self.to_latent.weight.dtype).transpose(1, 2).split(lengths, dim=2):
            tape = Tape(state)
            latents.append(self.to_latent(self.encoder(piece, tape))[:, : self.channels])
            state = tape.state()
        found = torch.cat(latents, dim=2).transpose(1, 2)
        return ((found - self.mean) / self.deviation).to(video_BTCHW.dtype), state

    def init_decode_state(self, batch: int) -> WanState:
        """Return the state before the first latent frame."""
        return WanState(batch)

    def decode_step(self, latents_BTCYX: Tensor, state: WanState) -> tuple[Tensor, WanState]:
        """Decode the next latent frames, 1 + 4k frames at the start of a stream, 4k later.

        Return them and the next state. Latent frames pass one by one, to bound memory.
        """
        if latents_BTCYX.ndim != 5 or latents_BTCYX.shape[2] != self.channels or not latents_BTCYX.shape[1]:
            shape = tuple(latents_BTCYX.shape)
            raise ValueError(f"latents have shape {shape}; pass (B, T >= 1, {self.channels}, Y, X)")
        check_rows(len(latents_BTCYX), state.batch)
        raw = (latents_BTCYX * self.deviation + self.mean).to(self.from_latent.weight.dtype)
        hidden = self.from_latent(raw.transpose(1, 2))
        video = []
        for piece in hidden.split(1, dim=2):
            tape = Tape(state)
            video.append(self.decoder(piece, tape))
            state = tape.state()
        return torch.cat(video, dim=2).transpose(1, 2).to(latents_BTCYX.dtype), state

    init_state, step = init_decode_state, decode_step


def middle(channels: int) -> list[nn.Module]:
    """Return the layers at the lowest resolution."""
    return [Residual(channels, channels), FrameAttention(channels), Residual(channels, channels)]


def down_layers(first: int, levels: list[int], blocks: int) -> list[nn.Module]:
    """Return residual blocks of every level with halvings in between; the second and third also halve time."""
    layers: list[nn.Module] = []
    for index, (before, channels) in enumerate(zip([first, *levels[:-1]], levels, strict=True)):
        layers += [Residual(channels if block else before, channels) for block in range(blocks)]
        layers += [Down(channels, time=index > 0)] if index < len(levels) - 1 else []
    return layers


def up_layers(levels: list[int], blocks: int) -> list[nn.Module]:
    """Return residual blocks of every level with doublings in between; the first and second also double time."""
    layers: list[nn.Module] = []
    before = levels[0]
    for index, channels in enumerate(levels):
        layers += [Residual(channels if block else before, channels) for block in range(blocks)]
        layers += [Up(channels, time=index < 2)] if index < len(levels) - 1 else []
        before = channels // 2
    return layers


def by_frame(layer: Callable[[Tensor], Tensor], x_BCTYX: Tensor) -> Tensor:
    """Apply a layer for pictures to every frame."""
    return rearrange(layer(rearrange(x_BCTYX, "b c t y x -> (b t) c y x")), "(b t) c y x -> b c t y x", b=len(x_BCTYX))


def _two(x_BCTYX: Tensor) -> Tensor:
    """Return a tensor of the shape of two frames of ``x_BCTYX``."""
    return x_BCTYX[:, :, :1].expand(-1, -1, 2, -1, -1)
