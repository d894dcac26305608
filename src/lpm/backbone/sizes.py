"""Named sizes of the DiT, at numbers that a laptop's CPU can train."""

from lpm.backbone.context import AudioContext, TextContext
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
    attend: Attend | None = None,
) -> DiT:
    """Build the default size, about 1.7 M parameters: 36 tokens a latent frame at 96 x 96 pixels.

    Lips hear .15 s before and after each latent frame; the listener hears 2.5 s back and .1 s ahead.
    """
    embed = PatchEmbed(channels, width, patch=2, anchor=anchor)
    return DiT(
        embed=embed,
        depth=depth,
        heads=heads,
        text=TextContext(text_width, width),
        speak=AudioContext(audio_width, width, past=0.15, future=0.15),
        listen=AudioContext(audio_width, width, past=2.5, future=0.1),
        attend=attend,
        head=MotionHead(embed) if anchor else None,
    )


def puppet_small(channels: int = 32, audio_width: int = 32, text_width: int = 32, anchor: bool = True) -> DiT:
    """Build the size of fast tests: width 32, two blocks."""
    return puppet(channels, 32, 2, 2, audio_width, text_width, anchor)
