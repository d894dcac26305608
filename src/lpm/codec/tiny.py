"""A causal video autoencoder small enough for live decoding on a laptop CPU."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import torch
from einops import rearrange
from lightning.pytorch import LightningModule
from torch import Tensor

from lpm.codec.coder import Decoder, Encoder, principal
from lpm.codec.groups import check_rows, check_video, join, moving_groups, still_groups, to_groups
from lpm.hub import Spec, from_pretrained, load_fitting, push_to_hub, save_pretrained, share_all


@dataclass(frozen=True)
class EncodeState:
    """What streaming encoding remembers: whether the first frame has been seen."""

    batch: int
    started: bool = False


@dataclass(frozen=True)
class DecodeState:
    """What streaming decoding remembers: the last latent frame and the first one, the first picture's pixels and the
    last one's.

    All are None before the first step.
    """

    batch: int
    previous_BCYX: Tensor | None = None
    anchor_BCYX: Tensor | None = None
    first_B3HW: Tensor | None = None
    last_B3HW: Tensor | None = None


class TinyCodec(LightningModule):
    """Compress video 8x8 in space and 4x in time; frame 0 alone, then one latent frame per four frames.

    A latent frame depends on its own frames only, so latents of a window are a slice of the latents of its clip, and a
    frame encoded alone lies in the same space (a group that holds still). The decoder also reads the latent frame
    before, moves the first picture where that shows what is to be seen (``lpm.codec.move``), and joins the groups of
    four frames, which would else jump (``lpm.codec.groups.join``).
    Latents have zero mean per channel and unit variance over all channels once ``calibrate`` has run.

    Args:
        channels: latent channels.
        width: channels of the convolutions at latent resolution, divisible by 4; finer levels use a half and a quarter.
        blocks: residual blocks at latent resolution, in each half.

    >>> codec = TinyCodec(channels=16, width=32, blocks=1)
    >>> latents = codec.encode(torch.zeros(2, 9, 3, 64, 48))
    >>> latents.shape, codec.decode(latents).shape
    (torch.Size([2, 3, 16, 8, 6]), torch.Size([2, 9, 3, 64, 48]))
    """

    stride_t = 4
    stride_s = 8
    pipeline_tag = "video-to-video"
    from_pretrained = classmethod(from_pretrained)  # type: ignore[var-annotated]
    save_pretrained, push_to_hub = save_pretrained, push_to_hub
    shared, load_shared = share_all, load_fitting

    def __init__(self, channels: int = 32, width: int = 128, blocks: int = 2) -> None:
        super().__init__()
        if width % 4 or width < 4:
            raise ValueError(f"width {width} does not divide by 4; choose a positive multiple of 4")
        self.channels, self.width, self.blocks = channels, width, blocks
        sizes = {"channels": channels, "width": width, "blocks": blocks}
        self.spec: Spec | None = {"class_path": "lpm.codec.TinyCodec", "init_args": sizes}
        self.encoder = Encoder(self.stride_t, channels, width, blocks)
        self.decoder = Decoder(self.stride_t, channels, width, blocks)
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("std", torch.ones(channels))
        self.to(memory_format=torch.channels_last)  # up to 1.5 times as fast on a CPU

    def forward(self, video_BTCHW: Tensor) -> Tensor:
        """Return the reconstruction of a whole clip, (B, T, 3, H, W)."""
        return self.decode(self.encode(video_BTCHW))

    def encode(self, video_BTCHW: Tensor) -> Tensor:
        """Return latents (B, 1 + (T - 1) / 4, C, H / 8, W / 8) of pixels in [-1, 1].

        Raises:
            ValueError: T is not 1 + 4k, or H or W does not divide by 8.
        """
        check_video(video_BTCHW, self.stride_t, self.stride_s)
        return self._encode_groups(to_groups(video_BTCHW, self.stride_t))

    def encode_frames(self, frames_NCHW: Tensor) -> Tensor:
        """Return the latent frame (N, C, H / 8, W / 8) of each picture alone, as if it were the first of a clip."""
        check_video(frames_NCHW[:, None], self.stride_t, self.stride_s)
        return self._encode_groups(still_groups(frames_NCHW, self.stride_t)[:, None])[:, 0]

    def decode(self, latents_BTCYX: Tensor) -> Tensor:
        """Return video (B, 1 + (T - 1) * 4, 3, Y * 8, X * 8), near but not clamped to [-1, 1]."""
        return self.decode_step(latents_BTCYX, self.init_decode_state(len(latents_BTCYX)))[0]

    def init_encode_state(self, batch: int) -> EncodeState:
        """Return the state before the first frame."""
        return EncodeState(batch)

    def encode_step(self, video_BTCHW: Tensor, state: EncodeState) -> tuple[Tensor, EncodeState]:
        """Encode the next frames: 1 + 4k of them at the start of a stream, 4k later.

        Return latents and the next state.
        """
        check_rows(len(video_BTCHW), state.batch)
        if not state.started:
            return self.encode(video_BTCHW), replace(state, started=True)
        check_video(video_BTCHW, self.stride_t, self.stride_s, first=False)
        return self._encode_groups(moving_groups(video_BTCHW, self.stride_t)), state

    def init_decode_state(self, batch: int) -> DecodeState:
        """Return the state before the first latent frame."""
        return DecodeState(batch)

    def decode_step(self, latents_BTCYX: Tensor, state: DecodeState) -> tuple[Tensor, DecodeState]:
        """Decode the next latent frames, 1 + 4k frames at the start of a stream, 4k later.

        Return them and the next state.
        """
        frames, _, state = self.decode_and_move(latents_BTCYX, state)
        return frames, state

    def decode_and_move(self, latents_BTCYX: Tensor, state: DecodeState) -> tuple[Tensor, Tensor, DecodeState]:
        """Return what ``decode_step`` does, with the first picture as it was moved for each frame."""
        self._check_latents(latents_BTCYX, state)
        if state.first_B3HW is not None:
            return self._decode_groups(latents_BTCYX, state)
        anchor = latents_BTCYX[:, 0]
        first = self.decoder.still(self._raw(anchor))[:, -3:]  # a group that holds still: one of its frames is enough
        started = replace(state, previous_BCYX=anchor, anchor_BCYX=anchor, first_B3HW=first, last_B3HW=first)
        if latents_BTCYX.shape[1] == 1:
            return first[:, None], first[:, None], started
        frames, moved, state = self._decode_groups(latents_BTCYX[:, 1:], started)
        return torch.cat([first[:, None], frames], dim=1), torch.cat([first[:, None], moved], dim=1), state

    init_state, step = init_decode_state, decode_step

    @torch.no_grad()
    def start_linear(self, videos_BTCHW: Tensor) -> None:
        """Set the linear paths to the principal components of ``videos_BTCHW``, a start far closer than random."""
        groups = rearrange(to_groups(videos_BTCHW, self.stride_t), "b t c h w -> (b t) c h w")
        principal(self.encoder, self.decoder, groups)

    @torch.no_grad()
    def calibrate(self, videos: Iterable[Tensor]) -> None:
        """Set ``mean`` and ``std`` so that the latents of ``videos``, each (B, T, 3, H, W), have mean 0 and variance
        1.
        """
        latents = [rearrange(self.encode(video), "b t c y x -> (b t y x) c") for video in videos]
        if not latents:
            raise ValueError("calibrate got no video; pass at least one")
        self.follow(rearrange(torch.cat(latents), "n c -> n 1 c 1 1"), rate=1.0)

    @torch.no_grad()
    def follow(self, latents_BTCYX: Tensor, rate: float) -> None:
        """Move ``mean`` and ``std`` by the share ``rate`` towards those that would normalise latents such as these."""
        mean, std = moments(latents_BTCYX)
        self.mean += rate * mean * self.std
        self.std *= std.clamp(min=1e-6) ** rate

    def _encode_groups(self, groups_BTCHW: Tensor) -> Tensor:
        latents = self.encoder(rearrange(groups_BTCHW, "b t c h w -> (b t) c h w"))
        latents = (latents - self.mean[:, None, None]) / self.std[:, None, None]
        return rearrange(latents, "(b t) c y x -> b t c y x", b=len(groups_BTCHW))

    def _decode_groups(self, latents_BTCYX: Tensor, state: DecodeState) -> tuple[Tensor, Tensor, DecodeState]:
        assert state.previous_BCYX is not None and state.anchor_BCYX is not None
        assert state.first_B3HW is not None and state.last_B3HW is not None
        groups = latents_BTCYX.shape[1]
        earlier = torch.cat([state.previous_BCYX[:, None], latents_BTCYX[:, :-1]], dim=1)
        anchor, first = (x[:, None].expand(-1, groups, *x.shape[1:]) for x in (state.anchor_BCYX, state.first_B3HW))
        latents = (self._raw(x.flatten(0, 1)) for x in (latents_BTCYX, earlier, anchor))
        both = self.decoder(*latents, first.flatten(0, 1))
        made, moved = (x.unflatten(1, (-1, 3)).unflatten(0, (-1, groups)) for x in both)
        frames = join(made, state.last_B3HW)
        moved = moved[:, :, 1:].flatten(1, 2)
        return frames, moved, replace(state, previous_BCYX=latents_BTCYX[:, -1], last_B3HW=frames[:, -1])

    def _raw(self, latents_NCYX: Tensor) -> Tensor:
        return latents_NCYX * self.std[:, None, None] + self.mean[:, None, None]

    def _check_latents(self, latents_BTCYX: Tensor, state: DecodeState) -> None:
        if latents_BTCYX.ndim != 5 or latents_BTCYX.shape[2] != self.channels or not latents_BTCYX.shape[1]:
            raise ValueError(
                f"latents have shape {tuple(latents_BTCYX.shape)}; pass (B, T >= 1, {self.channels}, Y, X)"
            )
        check_rows(len(latents_BTCYX), state.batch)


def moments(latents_BTCYX: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean of each channel, (C,), and one deviation from it for all channels, ().

    One scale keeps the channels' proportions: those that carry more of the picture also weigh more in a flow model's
    loss.
    """
    mean = latents_BTCYX.mean(dim=(0, 1, 3, 4))
    return mean, (latents_BTCYX - mean[:, None, None]).square().mean().sqrt()
