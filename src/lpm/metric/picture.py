"""Does the picture decay? Colour and sharpness of the end of a clip against its start."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric

from lpm.metric.clips import add_clip, add_clip_states, estimate_clips
from lpm.metric.signals import Signal, track, tracks
from lpm.metric.statistics import Estimate

EDGE = 0.15


def colour_difference(first_lab: Tensor, second_lab: Tensor) -> Tensor:
    """Return CIEDE2000 of two CIE Lab colours (..., 3) (Sharma, Wu and Dalal 2005, equations 2-22); 1 is just visible.

    >>> pair = torch.tensor([[50.0, 2.6772, -79.7751], [50.0, 0.0, -82.7485]])
    >>> round(float(colour_difference(pair[0], pair[1])), 4)
    2.0425
    """
    l1, a1, b1 = first_lab.double().unbind(-1)
    l2, a2, b2 = second_lab.double().unbind(-1)
    stretch = 1.5 - 0.5 * _saturation((torch.hypot(a1, b1) + torch.hypot(a2, b2)) / 2)
    a1, a2 = a1 * stretch, a2 * stretch
    chroma1, chroma2 = torch.hypot(a1, b1), torch.hypot(a2, b2)
    hue1, hue2 = torch.atan2(b1, a1) % (2 * torch.pi), torch.atan2(b2, a2) % (2 * torch.pi)
    grey = chroma1 * chroma2 == 0
    turn = torch.where(grey, 0.0, (hue2 - hue1 + torch.pi) % (2 * torch.pi) - torch.pi)
    lightness, chroma = (l1 + l2) / 2, (chroma1 + chroma2) / 2
    hue = torch.where(grey, hue1 + hue2, hue1 + turn / 2)
    d_hue = 2 * (chroma1 * chroma2).sqrt() * (turn / 2).sin()
    weight = (
        1
        - 0.17 * (hue - torch.pi / 6).cos()
        + 0.24 * (2 * hue).cos()
        + 0.32 * (3 * hue + torch.pi / 30).cos()
        - 0.20 * (4 * hue - 63 * torch.pi / 180).cos()
    )
    light = (l2 - l1) / (1 + 0.015 * (lightness - 50) ** 2 / (20 + (lightness - 50) ** 2).sqrt())
    colour = (chroma2 - chroma1) / (1 + 0.045 * chroma)
    tint = d_hue / (1 + 0.015 * chroma * weight)
    degrees = torch.rad2deg(hue) % 360
    bend = -2 * _saturation(chroma) * torch.sin(torch.deg2rad(60 * torch.exp(-(((degrees - 275) / 25) ** 2))))
    return (light**2 + colour**2 + tint**2 + bend * colour * tint).clamp(min=0).sqrt()


def colour_drift(lab_T3: Signal, edge: float = EDGE) -> Tensor:
    """Return COL, CIEDE2000 between the median colours of the first and the last ``edge`` share of the frames."""
    lab = tracks(lab_T3, "Lab colour", columns=3)
    count = max(1, round(edge * len(lab)))
    return colour_difference(lab[:count].quantile(0.5, dim=0), lab[-count:].quantile(0.5, dim=0))


def sharpness(video_THW3: Signal) -> Tensor:
    """Return the variance of the Laplacian of the luma per frame, (T,); cut the video to the face first.

    Args:
        video_THW3: uint8 or float RGB frames, at least 3x3.
    """
    video = torch.as_tensor(video_THW3).cpu().double()
    if video.ndim != 4 or video.shape[-1] != 3 or min(video.shape[1:3]) < 3:
        raise ValueError(f"video has shape {tuple(video.shape)}; give RGB frames (T, H, W, 3) of 3x3 pixels or more")
    luma = video @ torch.tensor([0.299, 0.587, 0.114], dtype=torch.float64)
    inner = luma[:, 1:-1, 1:-1]
    laplacian = luma[:, :-2, 1:-1] + luma[:, 2:, 1:-1] + luma[:, 1:-1, :-2] + luma[:, 1:-1, 2:] - 4 * inner
    return laplacian.flatten(1).var(1, correction=0)


def sharpness_drift(sharpness_T: Signal, edge: float = EDGE) -> Tensor:
    """Return SHP, log(sharpness of the last frames / of the first frames): < 0 blurs out, 0 is steady."""
    sharp = track(sharpness_T, "sharpness")
    if (sharp < 0).any():
        raise ValueError(f"sharpness is {float(sharp.min())}; a variance is 0 or more")
    count = max(1, round(edge * len(sharp)))
    return ((sharp[-count:].quantile(0.5) + 1e-3) / (sharp[:count].quantile(0.5) + 1e-3)).log()


class ColourDrift(Metric):
    """Mean over clips of ``colour_drift`` of a patch that should not change, such as the background.

    >>> metric = ColourDrift()
    >>> metric.update(torch.full((20, 3), 40.0))
    >>> float(metric.compute().value)
    0.0
    """

    higher_is_better = False
    full_state_update = False

    def __init__(self, resamples: int = 2000, seed: int = 0) -> None:
        super().__init__()
        self.resamples, self.seed = resamples, seed
        add_clip_states(self)

    def update(self, lab_T3: Signal, identity: str | int = 0) -> None:
        """Add one clip."""
        add_clip(self, colour_drift(lab_T3), identity)

    def compute(self) -> Estimate:
        """Return the mean difference of all clips."""
        return estimate_clips(self, self.resamples, self.seed)


class SharpnessDrift(Metric):
    """Mean over clips of ``sharpness_drift``; the target is 0."""

    higher_is_better = None
    full_state_update = False

    def __init__(self, resamples: int = 2000, seed: int = 0) -> None:
        super().__init__()
        self.resamples, self.seed = resamples, seed
        add_clip_states(self)

    def update(self, sharpness_T: Signal, identity: str | int = 0) -> None:
        """Add one clip."""
        add_clip(self, sharpness_drift(sharpness_T), identity)

    def compute(self) -> Estimate:
        """Return the mean log ratio of all clips."""
        return estimate_clips(self, self.resamples, self.seed)


def _saturation(chroma: Tensor) -> Tensor:
    """The high-chroma term of CIEDE2000, sqrt(C^7 / (C^7 + 25^7))."""
    return (chroma**7 / (chroma**7 + 25.0**7)).sqrt()
