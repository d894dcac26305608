"""Named sizes of the DiT, and how one begins before it has heard anything."""

from collections.abc import Sequence

from lpm.backbone.context import AudioContext, AudioSummary, TextContext, Voice
from lpm.backbone.dit import DiT
from lpm.backbone.head import MotionHead
from lpm.backbone.positions import SegmentOffsets
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
    offsets: SegmentOffsets | None = None,
    hears: Sequence[Sequence[Voice]] | None = None,
) -> DiT:
    """Build the default size, about 2.9 M parameters: 36 tokens a latent frame at 96 x 96 pixels.

    Lips hear .15 s before and after each latent frame; the listener hears 2.5 s back and .1 s ahead. Each window is
    summarised in ``summary`` tokens (0: the window's own tokens, as in the paper); ``speak_rate`` and ``listen_rate``
    are the audio encoders' tokens a second. ``offsets`` are the time positions of references, ``hears`` the voices that
    each block hears; both as in ``DiT``.
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
        offsets=offsets,
        attend=attend,
        head=MotionHead(embed) if anchor else None,
        hears=hears,
    )


def wan_1b() -> DiT:
    """Build Wan2.1 T2V-1.3B: 1.42 B parameters, no audio; ``lpm_1b`` is the one that hears."""
    return wan(width=1536, depth=30, heads=12, hidden=8960)


def wan_14b() -> DiT:
    """Build Wan2.1 T2V-14B: 14.3 B parameters, no audio; ``lpm_17b`` is the one that hears."""
    return wan(width=5120, depth=40, heads=40, hidden=13824)


def lpm_1b(audio_width: int = 1024, attend: Attend | None = None) -> DiT:
    """Build LPM on Wan2.1 1.3B: 1.42 B parameters of Wan, .22 B of audio."""
    return wan(width=1536, depth=30, heads=12, hidden=8960, audio_width=audio_width, attend=attend)


def lpm_17b(audio_width: int = 1024, attend: Attend | None = None) -> DiT:
    """Build the paper's Base LPM: 14.3 B parameters of Wan2.1 14B, 3.2 B of audio.

    Each block adds keys and values of audio (5120 -> 10240) and an output projection (5120 -> 5120), 3.15 B in 40
    blocks; the two streams' projections of audio tokens add .06 B.
    """
    return wan(width=5120, depth=40, heads=40, hidden=13824, audio_width=audio_width, attend=attend)


def wan(
    width: int,
    depth: int,
    heads: int,
    hidden: int,
    channels: int = 16,
    text_width: int = 4096,
    waves: int = 256,
    audio_width: int | None = None,
    attend: Attend | None = None,
    offsets: SegmentOffsets | None = None,
    hears: Sequence[Sequence[Voice]] | None = None,
) -> DiT:
    """Build a DiT of Wan2.1's shape, whose weights ``lpm.backbone.from_wan`` brings; it predicts velocity.

    Args:
        width: width of the network.
        depth: blocks.
        heads: attention heads; Wan's are 128 wide.
        hidden: width inside the feed-forward layers.
        channels: of the latents; 16 in Wan's VAE.
        text_width: of the text encoder; 4096 in umT5-XXL.
        waves: sinusoids of the noise level.
        audio_width: of the audio encoders' tokens; None builds no audio paths: Wan2.1's text-to-video network.
        attend: attention back end, ``lpm.ops.sdpa`` if None.
        offsets: time positions of references, see ``DiT``.
        hears: voices that each block hears, see ``DiT``.
    """

    def window(past: float, future: float) -> AudioContext | None:
        return None if audio_width is None else AudioContext(audio_width, width, past, future)

    return DiT(
        embed=PatchEmbed(channels, width, patch=2),
        depth=depth,
        heads=heads,
        text=TextContext(text_width, width),
        speak=window(0.15, 0.15),
        listen=window(2.5, 0.1),
        offsets=offsets,
        attend=attend,
        hidden=hidden,
        waves=waves,
        hears=hears,
    )


def puppet_small(channels: int = 32, audio_width: int = 32, text_width: int = 32, anchor: bool = True) -> DiT:
    """Build the size of fast tests: width 32, two blocks."""
    return puppet(channels, 32, 2, 2, audio_width, text_width, anchor)


def muted(network: DiT) -> DiT:
    """Return the network as one that has heard nothing yet: whatever the audio, it equals the text-to-video model.

    The value projections of both voices are zero until training moves them (LPM 1.0, first stage of the curriculum).
    """
    return network.zero_audio_()
