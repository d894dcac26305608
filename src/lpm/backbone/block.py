"""One block of the DiT: self-attention, multi-modal cross-attention, feed-forward."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lpm.nn import ContextAttention, KeyValue, SelfAttention, View, mlp
from lpm.ops import Attend, add_gated, modulate
from lpm.types import TextFeatures


class MultiModalAttention(nn.Module):
    """``W_txt A_text + W_aud A_audio``: text is read globally, audio in the window of each latent frame.

    Queries are shared; keys, values and output projections are the stream's own (LPM 1.0, dual-audio injection).
    ``voices`` is the number of audio streams it hears; with none it is Wan2.1's text cross-attention.
    """

    def __init__(self, width: int, heads: int, attend: Attend | None = None, voices: int = 1) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.query = nn.Linear(width, width)
        self.norm_query = nn.RMSNorm(width, eps=1e-6)
        self.text = ContextAttention(width, heads, attend, bias=True)
        paths = [ContextAttention(width, heads, attend) for _ in range(voices)]
        self.audio = paths[0] if voices == 1 else nn.ModuleList(paths)

    @property
    def voices(self) -> list[ContextAttention]:
        """The readers of the audio streams, in the order in which these are heard."""
        return [self.audio] if isinstance(self.audio, ContextAttention) else list(self.audio)  # type: ignore[arg-type]

    def forward(self, video_BLD: Tensor, text: TextFeatures, heard: Sequence[Tensor]) -> Tensor:
        """Return (B, T n, D) for video tokens (B, T n, D); frame t reads ``[:, t]`` of each window (B, T, K, D)."""
        query = self.norm_query(self.query(self.norm(video_BLD)))
        read = self.text(query, text.tokens_BLD, text.mask_BL)
        for reader, window_BTKD in zip(self.voices, heard, strict=True):
            read = read + read_by_frame(reader, query, window_BTKD)
        return read


def read_by_frame(reader: ContextAttention, query_BLD: Tensor, window_BTKD: Tensor) -> Tensor:
    """Return (B, T n, D): the n tokens of frame t read ``window_BTKD[:, t]``."""
    batch, frames = window_BTKD.shape[:2]
    by_frame = query_BLD.unflatten(1, (frames, -1)).flatten(0, 1)
    return reader(by_frame, window_BTKD.flatten(0, 1)).unflatten(0, (batch, frames)).flatten(1, 2)


class Block(nn.Module):
    """Self-attention (AdaLN), cross-attention, feed-forward (AdaLN), as in Wan2.1.

    Gates start at one and the modulation at rest: a plain pre-norm transformer that noise levels learn to steer.
    ``hidden`` is the width inside the feed-forward layer, ``voices`` the number of audio streams that the block hears.
    """

    def __init__(self, width: int, heads: int, hidden: int, attend: Attend | None = None, voices: int = 1) -> None:
        super().__init__()
        self.modulation = nn.Parameter(torch.empty(6, width))
        self.reset_parameters()
        self.attention = SelfAttention(width, heads, attend)
        self.cross = MultiModalAttention(width, heads, attend, voices)
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
        view: View,
        video: int,
        text: TextFeatures,
        heard: Sequence[Tensor],
    ) -> tuple[Tensor, KeyValue]:
        """Return tokens (B, L, D), and the keys and values of self-attention that they had on the way.

        ``view`` says what the tokens look at. The first ``video`` tokens are video and read text and audio, the others
        are references.
        """
        shift_1, scale_1, gate_1, shift_2, scale_2, gate_2 = (self.modulation + time_BS6D).unbind(dim=2)
        attended, made = self.attention(modulate(x_BLD, shift_1, scale_1), view)
        x_BLD = add_gated(x_BLD, attended, gate_1)
        read = self.cross(x_BLD[:, :video], text, heard)
        x_BLD = torch.cat([x_BLD[:, :video] + read, x_BLD[:, video:]], dim=1)
        return add_gated(x_BLD, self.feed_forward(modulate(x_BLD, shift_2, scale_2)), gate_2), made

    def key_value(self, x_BLD: Tensor, time_BS6D: Tensor) -> KeyValue:
        """Return the keys and values of self-attention alone: all that a cache wants of the last block."""
        shift, scale = (self.modulation + time_BS6D)[:, :, :2].unbind(dim=2)
        return self.attention.key_value(modulate(x_BLD, shift, scale))
