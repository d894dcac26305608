"""The two halves of the tiny codec: a linear path on 8x8 blocks, and convolutions that learn what it misses.

The linear path can be set to principal components (``principal``), which already give a picture; training starts there.
Both halves work on one group of frames, and nearly all of their convolutions run at low resolution.
"""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor, nn

from lpm.codec.move import Move


def zeroed(convolution: nn.Conv2d) -> nn.Conv2d:
    """Return the convolution with weight and bias 0: its branch adds nothing until it has learnt to."""
    for parameter in convolution.parameters():
        nn.init.zeros_(parameter)
    return convolution


@torch.no_grad()
def principal(encoder: Encoder, decoder: Decoder, groups_NCHW: Tensor) -> None:
    """Set the linear paths to the principal components, at one scale for all, of the 8x8 blocks of ``groups_NCHW``."""
    encode, decode = encoder.linear[1], decoder.linear[0]
    assert isinstance(encode, nn.Conv2d) and isinstance(decode, nn.Conv2d)
    assert encode.bias is not None and decode.bias is not None
    blocks = rearrange(encoder.linear[0](groups_NCHW), "n d y x -> (n y x) d")
    mean, channels = blocks.mean(dim=0), encode.out_channels
    _, values, axes = torch.linalg.svd((blocks - mean).T @ (blocks - mean) / len(blocks))
    scale, axes = values[:channels].mean().sqrt().clamp(min=1e-3), axes[:channels]
    into = axes / scale
    encode.weight.copy_(into[:, :, None, None])
    encode.bias.copy_(-into @ mean)
    back, again = (axes * scale).T[:, :, None, None], decode.out_channels - len(mean)  # the frame before: as the first
    decode.weight.copy_(torch.cat([back[:again], back]))
    decode.bias.copy_(torch.cat([mean[:again], mean]))


class Residual(nn.Module):
    """Two 3x3 convolutions around a skip.

    Starts as the identity, so a fresh stack is well conditioned without norms.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner = nn.Conv2d(width, width, 3, padding=1)
        self.outer = zeroed(nn.Conv2d(width, width, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        x_inner = self.inner(nn.functional.silu(x))
        return x + self.outer(nn.functional.silu(x_inner))


class Encoder(nn.Module):
    """Group of frames (N, frames * 3, H, W) -> latents (N, channels, H / 8, W / 8).

    Pixels are folded 4x4 into channels first, so that no convolution runs at full resolution.
    """

    def __init__(self, frames: int, channels: int, width: int, blocks: int) -> None:
        super().__init__()
        fine = width // 2
        self.at_quarter = nn.Sequential(
            nn.PixelUnshuffle(4),
            nn.Conv2d(frames * 3 * 16, fine, 1),
            Residual(fine),
        )
        self.at_eighth = nn.Sequential(
            nn.PixelUnshuffle(2),
            nn.Conv2d(fine * 4, width, 1),
            *[Residual(width) for _ in range(blocks)],
        )
        self.latent = nn.Sequential(nn.SiLU(), zeroed(nn.Conv2d(width, channels, 3, padding=1)))
        self.linear = nn.Sequential(nn.PixelUnshuffle(8), nn.Conv2d(frames * 3 * 64, channels, 1))

    def forward(self, group_NCHW: Tensor) -> Tensor:
        return self.linear(group_NCHW) + self.latent(self.at_eighth(self.at_quarter(group_NCHW)))


class Decoder(nn.Module):
    """Latents -> the frame before a group, and its frames: painted, and where the first picture shows it, moved.

    Painting reads the latents, those one group earlier and those of the first picture. Its last block works at half
    resolution, where it is cheap and still hides the edges of the 8x8 blocks. The frame before is made a second time so
    that groups can be joined (``lpm.codec.groups.join``).
    """

    def __init__(self, frames: int, channels: int, width: int, blocks: int) -> None:
        super().__init__()
        fine, finest, made = width // 2, width // 4, frames + 1
        self.at_eighth = nn.Sequential(
            nn.Conv2d(channels * 3, width, 3, padding=1),
            *[Residual(width) for _ in range(blocks)],
        )
        self.at_quarter = nn.Sequential(
            nn.Conv2d(width, fine * 4, 1),
            nn.PixelShuffle(2),
            Residual(fine),
        )
        self.at_half = nn.Sequential(
            nn.Conv2d(fine, finest * 4, 1),
            nn.PixelShuffle(2),
            Residual(finest),
        )
        self.pixels = nn.Sequential(
            nn.SiLU(),
            zeroed(nn.Conv2d(finest, made * 3 * 4, 3, padding=1)),
            nn.PixelShuffle(2),
        )
        self.linear = nn.Sequential(nn.Conv2d(channels, made * 3 * 64, 1), nn.PixelShuffle(8))
        self.move = Move(made, finest)

    def still(self, latents_NCYX: Tensor) -> Tensor:
        """Paint pictures that stand alone, (N, (1 + frames) * 3, 8 Y, 8 X)."""
        return self.paint(latents_NCYX, latents_NCYX, latents_NCYX)[0]

    def forward(
        self, latents_NCYX: Tensor, previous_NCYX: Tensor, anchor_NCYX: Tensor, first_N3HW: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return frames, and the first picture as it was moved, both (N, (1 + frames) * 3, 8 Y, 8 X).

        ``anchor_NCYX`` are the latents of the first picture, ``first_N3HW`` its pixels.
        """
        painted, features = self.paint(latents_NCYX, previous_NCYX, anchor_NCYX)
        moved, share = self.move(features, first_N3HW)
        return painted + share * (moved - painted), moved

    def paint(self, latents_NCYX: Tensor, previous_NCYX: Tensor, anchor_NCYX: Tensor) -> tuple[Tensor, Tensor]:
        """Return painted frames and the features at half resolution that they come from."""
        known = torch.cat([previous_NCYX, latents_NCYX, anchor_NCYX], dim=1)
        features = self.at_half(self.at_quarter(self.at_eighth(known)))
        return self.linear(latents_NCYX) + self.pixels(features), features
