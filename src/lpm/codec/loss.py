"""How far a reconstruction is from its video, where it matters: on moving and detailed parts, mouths and eyes first."""

from __future__ import annotations

from einops import rearrange
from torch import Tensor
from torch.nn.functional import avg_pool2d


def local_mean(video_BTCHW: Tensor, size: int) -> Tensor:
    """Average over the ``size`` x ``size`` pixels around each pixel; ``size`` is odd."""
    flat = rearrange(video_BTCHW, "b t c h w -> (b t) c h w")
    flat = avg_pool2d(flat, size, stride=1, padding=size // 2, count_include_pad=False)
    return rearrange(flat, "(b t) c h w -> b t c h w", b=len(video_BTCHW))


def importance(video_BTCHW: Tensor, motion: float = 30.0, contrast: float = 4.0) -> Tensor:
    """Weight of each pixel, (B, T, 1, H, W) with mean 1: higher when and where the clip moves and contrast is high.

    Motion is the distance from the clip's mean over time, contrast the deviation over 5x5 pixels, both of the grey
    picture. A mouth that opens for one frame of nine counts in that frame: weighted evenly over time, an absolute error
    would rather keep it closed.
    """
    grey = video_BTCHW.mean(dim=2, keepdim=True)
    moving = local_mean((grey - grey.mean(dim=1, keepdim=True)).abs(), 5)
    detail = (local_mean(grey**2, 5) - local_mean(grey, 5) ** 2).clamp(min=0).sqrt()
    weight = 1 + motion * moving + contrast * detail
    return weight / weight.mean()


def reconstruction_loss(
    output_BTCHW: Tensor, video_BTCHW: Tensor, edges: float = 0.5, flicker: float = 1.0, pace: float = 0.0
) -> Tensor:
    """Return the weighted absolute error plus ``edges`` times that of spatial and ``flicker`` times that of
    temporal steps, plus ``pace`` times the squared error of temporal steps.

    Where it is unsure whether a mouth opens, the least absolute error keeps it closed, and lips move too little; the
    least squared error lets it open in part.
    """
    weight = importance(video_BTCHW)
    error = (output_BTCHW - video_BTCHW) * weight
    loss = error.abs().mean()
    loss = loss + edges * (error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean())
    if video_BTCHW.shape[1] > 1:
        loss = loss + flicker * error.diff(dim=1).abs().mean()
        steps = (output_BTCHW - video_BTCHW).diff(dim=1).square()
        loss = loss + pace * (steps * weight[:, 1:].sqrt()).mean()
    return loss


def moving_loss(moved_BTCHW: Tensor, video_BTCHW: Tensor) -> Tensor:
    """Return how far the moved first picture is from the video, at full size and averaged over 4 x 4 pixels.

    The average shows a flow that is off by more than an edge's width which way to go.
    """
    error = rearrange(moved_BTCHW - video_BTCHW, "b t c h w -> (b t) c h w")
    return error.abs().mean() + avg_pool2d(error, 4).abs().mean()
