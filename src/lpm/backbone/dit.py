"""The diffusion transformer: Wan2.1's, plus interleaved dual audio and reference tokens."""

from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lpm.backbone.block import Block, MultiModalAttention
from lpm.backbone.context import (
    INTERLEAVED,
    AudioContext,
    AudioSummary,
    TextContext,
    Voice,
    heard_by,
    read_conditions,
)
from lpm.backbone.head import Head
from lpm.backbone.pictures import pictures_of
from lpm.backbone.positions import SegmentOffsets
from lpm.backbone.segments import fine, join_times, join_tokens, reference_segment, video_segment
from lpm.backbone.share import Share, WholeSequence
from lpm.hub import Spec, from_pretrained, load_fitting, push_to_hub, save_pretrained, share_all
from lpm.nn import ContextAttention, PatchEmbed, TimeEmbed, Whole
from lpm.ops import Attend, make_rotary
from lpm.types import Conditions


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

    pipeline_tag = "image-to-video"
    spec: Spec | None = None
    from_pretrained = classmethod(from_pretrained)  # type: ignore[var-annotated]
    save_pretrained, push_to_hub = save_pretrained, push_to_hub
    shared, load_shared = share_all, load_fitting

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
        self.reset_parameters()
        self.blocks = nn.ModuleList(
            Block(width, heads, hidden or 4 * width, attend, voices=len(heard_by(self.hears, i, (speak, listen))))
            for i in range(depth)
        )
        self.head = head or Head(embed)
        self.share: Share = WholeSequence()  # another one by lpm.backbone.context_parallel

    def reset_parameters(self) -> None:
        """Let noise levels modulate nothing at first."""
        nn.init.zeros_(self.time_modulation.weight)
        nn.init.zeros_(self.time_modulation.bias)

    def forward(self, noisy_BTCYX: Tensor, t_BT: Tensor, conditions: Conditions, fps: float) -> Tensor:
        """Return the prediction (B, T, C, Y, X) for latents with noise level ``t_BT`` per latent frame."""
        batch, frames = noisy_BTCYX.shape[:2]
        text, heard = read_conditions(self.text, self.speak, self.listen, conditions, batch, frames, fps)

        times_T = torch.arange(frames, dtype=fine(noisy_BTCYX), device=noisy_BTCYX.device)
        segments = [video_segment(self.embed(noisy_BTCYX), times_T, t_BT, self.embed, noisy_BTCYX)]
        if conditions.references is not None:
            segments.append(reference_segment(self.embed, self.offsets, conditions))
        own = self.share.take(segments)
        x_BLD, positions_BL3 = join_tokens(own)
        view = Whole(make_rotary(positions_BL3, self.head_width), self.share.mask(segments))
        time_BSD = self.time(join_times(own))
        time_BS6D = self.time_modulation(F.silu(time_BSD)).unflatten(-1, (6, -1))

        video = own[0].tokens_BFLD.shape[2] * frames
        for i, block in enumerate(self.blocks):
            x_BLD, _ = block(x_BLD, time_BS6D, view, video, text, heard_by(self.hears, i, heard))

        video_BTLD = self.share.join(x_BLD[:, :video].unflatten(1, (frames, -1)), segments[0].tokens_BFLD.shape[2])
        pictures = pictures_of(noisy_BTCYX[:, 0], conditions)
        return self.head(video_BTLD.flatten(1, 2), self.time(segments[0].t_BF), self.embed, pictures)

    def readers(self, block: int) -> list[ContextAttention]:
        """Return what reads audio in a block, in the order of ``lpm.backbone.context.heard_by``."""
        return cast(MultiModalAttention, self.blocks[block].cross).voices

    def audio_path(self, voice: Voice) -> list[nn.Module]:
        """Return all that reads one voice: its window, and its readers in the blocks."""
        window = self.speak if voice == "speak" else self.listen
        path: list[nn.Module] = [] if window is None else [window]
        for block in range(len(self.blocks)):
            names = heard_by(self.hears, block, (self.speak and "speak", self.listen and "listen"))
            path += [reader for name, reader in zip(names, self.readers(block), strict=True) if name == voice]
        return path

    def freeze_voices_(self, voices: Sequence[Voice]) -> None:
        """Do not train what reads these voices: a mute voice stays mute (LPM 1.0, first stage of the curriculum)."""
        for voice in voices:
            for part in self.audio_path(voice):
                part.requires_grad_(False)

    def zero_audio_(self) -> "DiT":
        """Mute both audio paths by zero value projections, the start of the paper's first training stage."""
        for block in range(len(self.blocks)):
            for reader in self.readers(block):
                reader.zero_value_()
        return self
