"""The diffusion transformer: Wan2.1's, plus interleaved dual audio and reference tokens."""

from collections.abc import Sequence
from typing import Literal, TypeVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lpm.backbone.block import Block, MultiModalAttention
from lpm.backbone.context import AudioContext, AudioSummary, TextContext
from lpm.backbone.head import Head
from lpm.backbone.positions import SegmentOffsets, grid, reference_times
from lpm.backbone.segments import Segment, join_masks, join_times, join_tokens
from lpm.nn import ContextAttention, PatchEmbed, TimeEmbed
from lpm.ops import Attend, make_rotary
from lpm.types import Conditions, References

Voice = Literal["speak", "listen"]
VOICES: tuple[Voice, Voice] = ("speak", "listen")
INTERLEAVED: tuple[tuple[Voice, ...], ...] = (("speak",), ("listen",))
Stream = TypeVar("Stream")


def fine(x: Tensor) -> torch.dtype:
    """Return the precision for positions and noise levels: float32 at least, since half precision blurs their waves."""
    return torch.promote_types(x.dtype, torch.float32)


class DiT(nn.Module):
    """Denoiser of latent video: even blocks hear the character's voice, odd blocks the partner's, unless told else.

    Frame 0 of the input is the clean first frame (t = 0); more frames may be clean history, also with t = 0.
    Reference pictures follow the video as clean tokens with time positions of their own; they may have any size.

    Args:
        embed: patch embedding; gives the width.
        depth: blocks.
        heads: attention heads.
        text: reads prompts.
        speak: window on the character's voice; ``AudioContext`` as in the paper, or ``AudioSummary``; blocks hear
            nothing where it is None.
        listen: window on the partner's voice; without both it is Wan2.1's text-to-video network.
        offsets: time positions of references; None for the defaults.
        attend: attention back end, ``lpm.ops.sdpa`` if None.
        head: tokens -> prediction, ``Head`` or ``MotionHead``; Wan2.1's ``Head`` if None.
        hidden: width inside the feed-forward layers, 4 times the width if None.
        waves: sinusoids that a noise level is embedded with; 256 in Wan2.1.
        hears: voices that each block hears, repeated over the depth; the paper's interleaving if None.
            ``[["speak", "listen"]]`` lets every block hear both, with twice the audio keys, values and outputs.

    Source: LPM 1.0, Base LPM; Wan2.1 for the shape of the block.
    """

    def __init__(
        self,
        embed: PatchEmbed,
        depth: int,
        heads: int,
        text: TextContext,
        speak: AudioContext | AudioSummary | None,
        listen: AudioContext | AudioSummary | None,
        offsets: SegmentOffsets | None = None,
        attend: Attend | None = None,
        head: nn.Module | None = None,
        hidden: int | None = None,
        waves: int = 64,
        hears: Sequence[Sequence[Voice]] | None = None,
    ) -> None:
        super().__init__()
        width = embed.width
        self.hears = [tuple(voices) for voices in (INTERLEAVED if hears is None else hears)]
        self.head_width = width // heads
        self.offsets = offsets or SegmentOffsets()
        self.embed = embed
        self.text, self.speak, self.listen = text, speak, listen
        self.time = TimeEmbed(width, waves)
        self.time_modulation = nn.Linear(width, 6 * width)
        nn.init.zeros_(self.time_modulation.weight)
        nn.init.zeros_(self.time_modulation.bias)
        self.blocks = nn.ModuleList(
            Block(width, heads, hidden or 4 * width, attend, voices=len(self.heard_by(i, (speak, listen))))
            for i in range(depth)
        )
        self.head = head or Head(embed)

    def forward(self, noisy_BTCYX: Tensor, t_BT: Tensor, conditions: Conditions, fps: float) -> Tensor:
        """Return the prediction (B, T, C, Y, X) for latents with noise level ``t_BT`` per latent frame."""
        batch, frames = noisy_BTCYX.shape[:2]
        keep = conditions.keep
        text = self.text(conditions.text, batch, keep.get("text"))
        speak = self.speak and self.speak(conditions.speak, batch, frames, fps, keep.get("speak"))
        listen = self.listen and self.listen(conditions.listen, batch, frames, fps, keep.get("listen"))

        segments = [self.video_segment(noisy_BTCYX, t_BT)]
        if conditions.references is not None:
            segments.append(self.reference_segment(conditions.references, keep.get("references")))
        x_BLD, positions_BL3 = join_tokens(segments)
        rotation = make_rotary(positions_BL3, self.head_width)
        mask = join_masks(segments)
        time_BSD = self.time(join_times(segments))
        time_BS6D = self.time_modulation(F.silu(time_BSD)).unflatten(-1, (6, -1))

        video = segments[0].tokens_BFLD.shape[2] * frames
        for i, block in enumerate(self.blocks):
            x_BLD = block(x_BLD, time_BS6D, rotation, mask, video, text, self.heard_by(i, (speak, listen)))

        return self.head(x_BLD[:, :video], self.time(segments[0].t_BF), self.embed, noisy_BTCYX)

    def video_segment(self, noisy_BTCYX: Tensor, t_BT: Tensor) -> Segment:
        """Embed the video; time positions count from 0."""
        frames, _, height, width = noisy_BTCYX.shape[1:]
        times_1T = torch.arange(frames, dtype=fine(noisy_BTCYX), device=noisy_BTCYX.device)[None]
        positions = grid(times_1T, height // self.embed.patch, width // self.embed.patch)
        return Segment(self.embed(noisy_BTCYX), positions, t_BT.to(fine(noisy_BTCYX)))

    def reference_segment(self, references: References, keep_B: Tensor | None) -> Segment:
        """Embed the references as clean pictures; their time positions tell their kinds."""
        latents = references.latents_BRCYX
        if latents is None:
            raise ValueError("references without latents; call lpm.condition.encode_references first")
        times_BR = reference_times(references, self.offsets, fine(latents))
        positions = grid(times_BR, latents.shape[-2] // self.embed.patch, latents.shape[-1] // self.embed.patch)
        mask_BR = references.mask_BR if keep_B is None else references.mask_BR & keep_B.to(latents.device)[:, None]
        return Segment(self.embed.images(latents), positions, torch.zeros_like(times_BR), mask_BR)

    def heard_by(self, block: int, streams: tuple[Stream | None, Stream | None]) -> list[Stream]:
        """Return which of (speak, listen) a block hears, in this order, without those that are None."""
        wanted = self.hears[block % len(self.hears)]
        return [stream for name, stream in zip(VOICES, streams, strict=True) if name in wanted and stream is not None]

    def readers(self, block: int) -> list[ContextAttention]:
        """Return what reads audio in a block, in the order of ``heard_by``."""
        return cast(MultiModalAttention, self.blocks[block].cross).voices

    def audio_path(self, voice: Voice) -> list[nn.Module]:
        """Return all that reads one voice: its window, and its readers in the blocks."""
        window = self.speak if voice == "speak" else self.listen
        path: list[nn.Module] = [] if window is None else [window]
        for block in range(len(self.blocks)):
            names = self.heard_by(block, (self.speak and "speak", self.listen and "listen"))
            path += [reader for name, reader in zip(names, self.readers(block), strict=True) if name == voice]
        return path

    def zero_audio_(self) -> "DiT":
        """Mute both audio paths by zero value projections, the start of the paper's first training stage."""
        for block in range(len(self.blocks)):
            for reader in self.readers(block):
                reader.zero_value_()
        return self
