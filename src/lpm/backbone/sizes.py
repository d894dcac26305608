"""Named sizes of the DiT, at numbers that a laptop's CPU can train."""

from lpm.backbone.context import AudioContext, AudioSummary, TextContext
from lpm.backbone.dit import DiT
from lpm.backbone.head import MotionHead
from lpm.nn import PatchEmbed
from lpm.ops import Attend


def puppet(
    channels: int = 32,
    width: int = 128,
    depth: int = 4,
    heads: int = 4,
    audio_width: int = 128,
    text_width: int = 128,
    anchor: bool = True,
    summary: int = 4,
    speak_rate: float = 50.0,
    listen_rate: float = 12.5,
    attend: Attend | None = None,
) -> DiT:
    """Build the default size, about 2.9 M parameters: 36 tokens a latent frame at 96 x 96 pixels.

    Lips hear .15 s before and after each latent frame; the listener hears 2.5 s back and .1 s ahead. Each window is
    summarised in ``summary`` tokens (0: the window's own tokens, as in the paper); ``speak_rate`` and ``listen_rate``
    are the audio encoders' tokens a second.
    """

    def window(past: float, future: float, rate: float) -> AudioContext | AudioSummary:
        if not summary:
            return AudioContext(audio_width, width, past, future)
        return AudioSummary(audio_width, width, past, future, rate, summary)

    embed = PatchEmbed(channels, width, patch=2, anchor=anchor)
    return DiT(
        embed=embed,
        depth=depth,
        heads=heads,
        text=TextContext(text_width, width),
        speak=window(0.15, 0.15, speak_rate),
        listen=window(2.5, 0.1, listen_rate),
        attend=attend,
        head=MotionHead(embed) if anchor else None,
    )


def puppet_small(channels: int = 32, audio_width: int = 32, text_width: int = 32, anchor: bool = True) -> DiT:
    """Build the size of fast tests: width 32, two blocks."""
    return puppet(channels, 32, 2, 2, audio_width, text_width, anchor)
