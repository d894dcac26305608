"""A whole clip in one sequence: which frames it holds, where they lie, and who looks at whom."""

from dataclasses import dataclass

import torch
from torch import Tensor

from lpm.backbone.masks import STILL, MaskBuilder, Place
from lpm.backbone.positions import grid
from lpm.backbone.segments import Segment, join_masks, join_tokens
from lpm.nn import TwoClocks, View, Whole
from lpm.ops import make_rotary


@dataclass(frozen=True)
class Frames:
    """The latent frames of a sequence.

    Attributes:
        latents_BFCYX: frame 0 is the clean first frame; then the clip, and, if the clip has a history apart from what
            is denoised, the frames to denoise.
        t_BF: noise levels.
        time_F: place in the clip, int64.
        copy_F: see ``Place``.
        clip: frames of the clip.
    """

    latents_BFCYX: Tensor
    t_BF: Tensor
    time_F: Tensor
    copy_F: Tensor
    clip: int

    def predicted(self) -> Tensor:
        """Return the index of the frames whose prediction is wanted: the first, and the last of the sequence."""
        count = len(self.time_F)
        later = torch.arange(count - self.clip + 1, count, device=self.time_F.device)
        return torch.cat([self.time_F[:1], later])


def lay_out(noisy_BTCYX: Tensor, t_BT: Tensor, history_BTCYX: Tensor | None, t_history_BT: Tensor | None) -> Frames:
    """Return the frames of a clip, after those of its history if it has one apart.

    Raises:
        ValueError: a history without noise levels, or of another shape.
    """
    time_T = torch.arange(noisy_BTCYX.shape[1], device=noisy_BTCYX.device)
    if history_BTCYX is None:
        return Frames(noisy_BTCYX, t_BT, time_T, torch.zeros_like(time_T), len(time_T))
    if t_history_BT is None or history_BTCYX.shape != noisy_BTCYX.shape:
        raise ValueError(
            f"history of {tuple(history_BTCYX.shape)} for latents of {tuple(noisy_BTCYX.shape)}; give the same shape, "
            "and t_history_BT"
        )
    return Frames(
        torch.cat([history_BTCYX, noisy_BTCYX[:, 1:]], dim=1),
        torch.cat([t_history_BT, t_BT[:, 1:]], dim=1),
        torch.cat([time_T, time_T[1:]]),
        torch.cat([torch.zeros_like(time_T), torch.ones_like(time_T[1:])]),
        len(time_T),
    )


def clip_view(
    segments: list[Segment],
    frames: Frames,
    head_width: int,
    chunk: int,
    sink: int,
    window: int,
    mask: MaskBuilder,
) -> View:
    """Return what the tokens of a clip look at; ``segments`` are its frames and, if there are any, its references.

    Positions are those of a stream: a query finds pictures and sink chunks where they lie in its own window. Only in
    clips longer than sink, window and one chunk does that differ from where they lie in time.
    """
    tokens = segments[0].tokens_BFLD.shape[2]
    positions_BL3 = join_tokens(segments)[1]
    rotation = make_rotary(positions_BL3, head_width)
    chunk_F = torch.div(frames.time_F - 1, chunk, rounding_mode="floor")  # frame 0 is STILL
    place = place_tokens(chunk_F, frames.copy_F, tokens, positions_BL3.shape[1])
    exists = join_masks(segments)
    seen = mask(place, None if exists is None else exists[:, 0, 0], sink, window)
    full = sink + window
    if (frames.clip - 2) // chunk <= full:
        return Whole(rotation, seen)
    gone_L = chunk * (place.chunk_L - full).clamp_min(0)
    relative_BL3 = positions_BL3 - torch.stack([gone_L, *[torch.zeros_like(gone_L)] * 2], dim=-1)
    return TwoClocks(rotation, make_rotary(relative_BL3, head_width), place.chunk_L < sink, seen)


def place_tokens(chunk_F: Tensor, copy_F: Tensor, tokens: int, length: int) -> Place:
    """Return the place of every token; those after the frames, up to ``length``, are of references."""
    chunk_L = chunk_F.new_full((length,), STILL)
    copy_L = torch.zeros_like(chunk_L)
    video = tokens * len(chunk_F)
    chunk_L[:video] = chunk_F.repeat_interleave(tokens)
    copy_L[:video] = copy_F.repeat_interleave(tokens)
    return Place(chunk_L, copy_L)


def chunk_turns(chunk: int, places: int, height: int, width: int, like: Tensor) -> Tensor:
    """Return the positions of the tokens of a chunk at each place of a window: (places, chunk n, 3).

    Frame 0 is the first picture, so the chunk at place p begins with frame 1 + p chunk.
    """
    first_P = 1 + chunk * torch.arange(places, device=like.device)
    times_PF = first_P[:, None] + torch.arange(chunk, device=like.device)
    return grid(times_PF.to(like.dtype), height, width)
