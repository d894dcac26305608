"""Floating-point operations of a DiT, on paper: a multiply-add counts as two, norms and activations as none."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from lpm.backbone.block import Block
from lpm.backbone.context import AudioContext, AudioSummary, frame_ends, heard_by, window_seconds
from lpm.backbone.dit import DiT
from lpm.backbone.head import MotionHead
from lpm.backbone.timing import window_range, window_tokens


@dataclass(frozen=True)
class ClipShape:
    """What one process is given in a step.

    Attributes:
        batch: clips.
        frames: latent frames of a clip, the first picture included.
        height, width: latent height and width, Y and X.
        references: reference pictures of a clip, of the same size.
        text: text tokens of a prompt.
        audio: tokens of each audio stream.
        history: seconds of audio before the first video frame.
        rates: tokens a second of the character's and the partner's voice.
        fps: video frames a second.
    """

    batch: int
    frames: int
    height: int
    width: int
    references: int = 1
    text: int = 512
    audio: int = 310
    history: float = 2.6
    rates: tuple[float, float] = (50.0, 50.0)
    fps: float = 24.0


def forward_flops(network: DiT, clip: ClipShape, context: int = 1) -> int:
    """Return the operations of one forward pass on each of ``context`` processes that share the clip."""
    blocks = [module for module in network.modules() if isinstance(module, Block)]
    picture = picture_tokens(network, clip)
    inside = sum(block_flops(block, clip, picture, heard(network, i, clip), context) for i, block in enumerate(blocks))
    return inside + outer_flops(network, clip)


def heard(network: DiT, index: int, clip: ClipShape) -> list[int]:
    """Return the tokens a latent frame of each voice that a block hears."""
    speak, listen = (
        None if part is None else windows(part, rate, clip.fps)
        for part, rate in zip((network.speak, network.listen), clip.rates)
    )
    return heard_by(network.hears, index, (speak, listen))


def block_flops(block: Block, clip: ClipShape, picture: int, windows: Sequence[int], context: int = 1) -> int:
    """Return the operations of one block that hears windows of so many tokens a latent frame, one per voice."""
    own = -(-picture // context)  # of each picture's tokens
    video, all_own = clip.frames * own, (clip.frames + clip.references) * own
    width, cross = block.modulation.shape[-1], block.cross
    attention = per_token(block.attention) * all_own + 4 * all_own * (all_own * context) * width
    read = per_token(cross.query, cross.text.out) * video + 4 * video * (clip.text + 1) * width
    kept = per_token(cross.text.key_value) * (clip.text + 1)
    for reader, window in zip(cross.voices, windows, strict=True):
        read += per_token(reader.out) * video + 4 * video * window * width
        kept += per_token(reader.key_value) * clip.frames * window
    return clip.batch * (attention + read + kept + per_token(block.feed_forward) * all_own)


def outer_flops(network: DiT, clip: ClipShape) -> int:
    """Return the operations outside the blocks, which every process does for the whole clip."""
    picture = picture_tokens(network, clip)
    video, slots = clip.frames * picture, clip.frames + clip.references
    embed, flops, once = network.embed, 0, 0  # of each clip; of all clips together
    flops += per_token(embed.noisy) * (slots if embed.image is None else clip.frames - 1) * picture
    if embed.image is not None and embed.place is not None:
        flops += per_token(embed.image) * (1 + clip.references) * picture
        once += per_token(embed.place) * picture * (1 + bool(clip.references))
    flops += per_token(network.text) * clip.text
    flops += per_token(network.time) * (slots + clip.frames) + per_token(network.time_modulation) * slots
    flops += per_token(network.head) * video
    if isinstance(network.head, MotionHead):
        head, channels = network.head, network.head.filter.in_channels
        filters = head.filters + clip.references * head.reference_filters
        flops -= 0 if clip.references else per_token(head.reference_amount) * video
        flops += 2 * clip.height * clip.width * channels * filters * (9 * channels + clip.frames)
    for part, rate in zip((network.speak, network.listen), clip.rates):
        if part is not None:
            flops += per_token(part.project) * projected(part, rate, clip)
        if isinstance(part, AudioContext):
            once += per_token(part.time) * clip.frames * windows(part, rate, clip.fps)
        elif isinstance(part, AudioSummary):
            flops += per_token(part.summarise) * clip.frames
    return clip.batch * flops + once


def picture_tokens(network: DiT, clip: ClipShape) -> int:
    """Return the tokens of one picture."""
    return (clip.height // network.embed.patch) * (clip.width // network.embed.patch)


def projected(part: AudioContext | AudioSummary, rate: float, clip: ClipShape) -> int:
    """Return the tokens of an audio stream that any latent frame of a clip hears."""
    ends = [end + part.future for end in frame_ends(clip.frames, clip.fps, part.stride_t)]
    first, last = window_range(ends, window_seconds(part, clip.fps), rate, -clip.history, clip.audio)
    return last - first


def windows(part: AudioContext | AudioSummary | None, rate: float, fps: float) -> int:
    """Return the tokens that a latent frame reads of an audio stream."""
    if isinstance(part, AudioSummary):
        return part.tokens
    return 0 if part is None else window_tokens(window_seconds(part, fps), rate)


def per_token(*parts: nn.Module) -> int:
    """Return the operations of all linear layers of some parts on one token."""
    layers = [layer for part in parts for layer in part.modules() if isinstance(layer, nn.Linear)]
    return sum(2 * layer.in_features * layer.out_features for layer in layers)
