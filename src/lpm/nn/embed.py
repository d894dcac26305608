"""Numbers and latent patches -> tokens."""

import math

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

WAVES = 64  # features of a place: half for its row, half for its column


def sinusoid(values: Tensor, width: int, longest: float = 10_000.0) -> Tensor:
    """Return ``width`` cosines and sines of each value, at wavelengths from 2 pi to 2 pi ``longest``: (..., width)."""
    half = width // 2
    steps = torch.arange(half, dtype=values.dtype, device=values.device)
    angle = values[..., None] * torch.exp(-math.log(longest) * steps / half)
    return torch.cat([angle.cos(), angle.sin()], dim=-1)


class TimeEmbed(nn.Module):
    """Noise level in [0, 1] -> embedding, per latent frame: (B, T) -> (B, T, D)."""

    def __init__(self, width: int, waves: int = 64) -> None:
        super().__init__()
        self.waves = waves
        self.waves_in = nn.Linear(waves, width)
        self.out = nn.Linear(width, width)

    def forward(self, t_BT: Tensor) -> Tensor:
        """Return (B, T, D)."""
        waves = sinusoid(t_BT * 1000, self.waves).to(self.out.weight.dtype)
        return self.out(F.silu(self.waves_in(waves)))


class PatchEmbed(nn.Module):
    """Latents <-> tokens in spatial patches, one token grid per latent frame (Wan2.1's patch (1, p, p)).

    With ``anchor`` a second projection embeds clean images: references, and the first frame, which is also added to
    every later frame at the same place; places in the picture are embedded too, as fractions of its sides, since a
    small
    network finds the mouth sooner by its place than by its look. Without it, one projection embeds everything and only
    rotary positions tell places apart, as in the paper.
    """

    def __init__(self, channels: int, width: int, patch: int = 2, anchor: bool = False) -> None:
        super().__init__()
        self.patch = patch
        self.width = width
        self.noisy = nn.Linear(channels * patch**2, width)
        self.image = nn.Linear(channels * patch**2, width) if anchor else None
        self.place = nn.Linear(WAVES, width) if anchor else None

    def split(self, latents_BTCYX: Tensor) -> Tensor:
        """Cut latents into patches (B, T, n, patch values)."""
        height, width = latents_BTCYX.shape[-2:]
        if height % self.patch or width % self.patch:
            raise ValueError(
                f"latents of {height}x{width} do not divide by the patch of {self.patch}; resize the video"
            )
        return rearrange(latents_BTCYX, "b t c (y p) (x q) -> b t (y x) (c p q)", p=self.patch, q=self.patch)

    def join(self, patches_BTLC: Tensor, height: int) -> Tensor:
        """Undo ``split``; ``height`` is the height Y of the latents."""
        rows = height // self.patch
        return rearrange(patches_BTLC, "b t (y x) (c p q) -> b t c (y p) (x q)", y=rows, p=self.patch, q=self.patch)

    def forward(self, latents_BTCYX: Tensor) -> Tensor:
        """Embed video latents; index 0 is the clean first frame: (B, T, n, D)."""
        if self.image is None:
            return self.noisy(self.split(latents_BTCYX))
        first = self.images(latents_BTCYX[:, :1])
        return torch.cat([first, self.later(latents_BTCYX[:, 1:], first)], dim=1)

    def later(self, latents_BTCYX: Tensor, first_B1LD: Tensor) -> Tensor:
        """Embed video latents after the first frame, whose tokens (``images``) are known: (B, T, n, D)."""
        tokens = self.noisy(self.split(latents_BTCYX))
        return tokens if self.image is None else tokens + first_B1LD

    def images(self, latents_BRCYX: Tensor) -> Tensor:
        """Embed clean images: (B, R, n, D)."""
        tokens = (self.image or self.noisy)(self.split(latents_BRCYX))
        return tokens if self.place is None else tokens + self.places(latents_BRCYX)

    def places(self, latents_BTCYX: Tensor) -> Tensor:
        """Embed where each patch lies in the picture: (n, D)."""
        assert self.place is not None
        rows, columns = (side // self.patch for side in latents_BTCYX.shape[-2:])
        y, x = (
            sinusoid(
                (torch.arange(count, device=latents_BTCYX.device) + 0.5) * (math.pi / count), WAVES // 2, longest=1 / 8
            )
            for count in (rows, columns)
        )
        waves = torch.cat([y[:, None].expand(-1, columns, -1), x[None].expand(rows, -1, -1)], dim=-1)
        return self.place(waves.flatten(0, 1).to(self.place.weight))
