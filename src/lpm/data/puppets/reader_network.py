"""The small convolutional network behind the reader: one 96-pixel frame in, controls, readability and identity out."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lpm.data.puppets.identity import IDENTITY_NAMES

SIZE = 96
# What one unit of the network's output is worth: about a standard deviation of the control in training.
UNITS = {
    "yaw": 12.0,
    "pitch": 8.0,
    "roll": 8.0,
    "gaze_x": 0.5,
    "gaze_y": 0.5,
    "blink_l": 0.4,
    "blink_r": 0.4,
    "eyelid": 0.5,
    "brow": 0.5,
    "frown": 0.4,
    "smile": 0.5,
    "smirk": 0.5,
    "sneer": 0.4,
    "aperture": 0.3,
    "width": 0.5,
    "round": 0.4,
    "tongue": 0.4,
}


def convolution(channels_in: int, channels_out: int, stride: int, kernel: int = 3) -> nn.Sequential:
    """Return convolution, batch norm and SiLU; stride 2 halves the picture."""
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(channels_out),
        nn.SiLU(),
    )


class ReaderNetwork(nn.Module):
    """Halvings to 6x6 features kept in place (where a lip is *is* the signal), then a head each for face and person.

    The face's head also sees the 12x12 features: irises move by two pixels.

    >>> controls, readable, identity = ReaderNetwork()(torch.zeros(2, 3, 96, 96))
    >>> controls.shape[1] == len(UNITS), readable.shape, identity.shape[1] == len(IDENTITY_NAMES)
    (True, torch.Size([2]), True)
    """

    def __init__(self, channels: tuple[int, int, int, int] = (16, 32, 48, 64), hidden: int = 192) -> None:
        super().__init__()
        first, second, third, last = channels
        self.fine = nn.Sequential(
            convolution(3, first, stride=2, kernel=5),
            convolution(first, second, stride=2),
            convolution(second, second, stride=1),
            convolution(second, third, stride=2),
            convolution(third, third, stride=1),
        )
        self.detail = convolution(third, first, stride=1, kernel=1)
        self.coarse = nn.Sequential(convolution(third, last, stride=2), convolution(last, last, stride=1))
        seen = last * 36 + first * 144
        self.face = nn.Sequential(nn.Linear(seen, hidden), nn.SiLU(), nn.Linear(hidden, len(UNITS) + 1))
        self.person = nn.Sequential(nn.Linear(last * 36, 96), nn.SiLU(), nn.Linear(96, len(IDENTITY_NAMES)))
        self.units: Tensor
        self.register_buffer("units", torch.tensor(list(UNITS.values())), persistent=False)

    def forward(self, frames_BCHW: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return controls (B, len(UNITS)) in their own units, the logit of being readable (B,) and identity (B, N).

        Args:
            frames_BCHW: RGB in [-1, 1], (B, 3, 96, 96).
        """
        fine = self.fine(frames_BCHW)
        coarse = self.coarse(fine).flatten(1)
        face = self.face(torch.cat([coarse, self.detail(fine).flatten(1)], dim=1))
        return face[:, :-1] * self.units, face[:, -1], self.person(coarse)
