"""One block of the DiT: self-attention, multi-modal cross-attention, feed-forward."""

import torch
from torch import Tensor, nn

from lpm.nn import ContextAttention, SelfAttention, mlp
from lpm.ops import Attend, Rotary, add_gated, modulate
from lpm.types import TextFeatures


class MultiModalAttention(nn.Module):
    """``W_txt A_text + W_aud A_audio``: text is read globally, audio in the window of each latent frame.

    Queries are shared; keys, values and output projections are the stream's own (LPM 1.0, dual-audio injection).
    Without ``audio`` it is Wan2.1's text cross-attention.
    """

    def __init__(self, width: int, heads: int, attend: Attend | None = None, audio: bool = True) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.query = nn.Linear(width, width)
        self.norm_query = nn.RMSNorm(width, eps=1e-6)
        self.text = ContextAttention(width, heads, attend, bias=True)
        self.audio = ContextAttention(width, heads, attend) if audio else None

    def forward(self, video_BLD: Tensor, text: TextFeatures, audio_BTKD: Tensor | None) -> Tensor:
        """Return (B, T n, D) for video tokens (B, T n, D); frame t reads ``audio_BTKD[:, t]``."""
        query = self.norm_query(self.query(self.norm(video_BLD)))
        read = self.text(query, text.tokens_BLD, text.mask_BL)
        if self.audio is None or audio_BTKD is None:
            return read
        batch, frames = audio_BTKD.shape[:2]
        by_frame = query.unflatten(1, (frames, -1)).flatten(0, 1)
        return read + self.audio(by_frame, audio_BTKD.flatten(0, 1)).unflatten(0, (batch, frames)).flatten(1, 2)


class Block(nn.Module):
    """Self-attention (AdaLN), cross-attention, feed-forward (AdaLN), as in Wan2.1.

    Gates start at one and the modulation at rest: a plain pre-norm transformer that noise levels learn to steer.
    ``hidden`` is the width inside the feed-forward layer; ``audio`` tells whether the block hears anything.
    """

    def __init__(self, width: int, heads: int, hidden: int, attend: Attend | None = None, audio: bool = True) -> None:
        super().__init__()
        self.modulation = nn.Parameter(torch.empty(6, width))
        self.reset_parameters()
        self.attention = SelfAttention(width, heads, attend)
        self.cross = MultiModalAttention(width, heads, attend, audio)
        self.feed_forward = mlp(width, hidden, width)

    def reset_parameters(self) -> None:
        """Open the gates and put the modulation at rest."""
        rest = torch.tensor([0.0, 0.0, 1.0, 0.0, 0.0, 1.0], device=self.modulation.device)
        with torch.no_grad():
            self.modulation.copy_(rest[:, None])

    def forward(
        self,
        x_BLD: Tensor,
        time_BS6D: Tensor,
        rotation: Rotary,
        mask: Tensor | None,
        video: int,
        text: TextFeatures,
        audio_BTKD: Tensor | None,
    ) -> Tensor:
        """Return (B, L, D); the first ``video`` tokens are video and read text and audio, the rest are references."""
        shift_1, scale_1, gate_1, shift_2, scale_2, gate_2 = (self.modulation + time_BS6D).unbind(dim=2)
        attended = self.attention(modulate(x_BLD, shift_1, scale_1), rotation, mask)
        x_BLD = add_gated(x_BLD, attended, gate_1)
        read = self.cross(x_BLD[:, :video], text, audio_BTKD)
        x_BLD = torch.cat([x_BLD[:, :video] + read, x_BLD[:, video:]], dim=1)
        return add_gated(x_BLD, self.feed_forward(modulate(x_BLD, shift_2, scale_2)), gate_2)
