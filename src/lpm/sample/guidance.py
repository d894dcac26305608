"""Classifier-free guidance, one scale per stream."""

from dataclasses import replace

import torch
from torch import Tensor

from lpm.types import AudioFeatures, Backbone, Conditions, References, TextFeatures

STREAMS = ("text", "speak", "listen", "references")


def guide(
    backbone: Backbone, noisy_BTCYX: Tensor, t_BT: Tensor, conditions: Conditions, fps: float, scales: dict[str, float]
) -> Tensor:
    """Return ``full + sum over streams (scale - 1) (full - without the stream)`` from one batched forward.

    Scale 1 leaves a stream as it is, and costs nothing. Linear, so it may guide velocity or clean predictions alike.
    Source: Ho and Salimans 2022; LPM 1.0 guides text and each audio stream.
    """
    unknown = set(scales) - set(STREAMS)
    if unknown:
        raise ValueError(f"guidance of unknown stream {sorted(unknown)}; streams are {', '.join(STREAMS)}")
    guided = [stream for stream in STREAMS if scales.get(stream, 1.0) != 1.0]
    if not guided:
        return backbone.forward(noisy_BTCYX, t_BT, conditions, fps)
    copies = 1 + len(guided)
    hidden = hide_in_copies(repeat_conditions(conditions, copies), guided, batch=noisy_BTCYX.shape[0])
    output = backbone.forward(noisy_BTCYX.repeat(copies, 1, 1, 1, 1), t_BT.repeat(copies, 1), hidden, fps)
    full, *without = output.chunk(copies)
    terms = ((scales[stream] - 1) * (full - other) for stream, other in zip(guided, without, strict=True))
    return full + sum(terms)


def repeat_conditions(conditions: Conditions, copies: int) -> Conditions:
    """Return the conditions of a batch repeated ``copies`` times along the batch."""
    return Conditions(
        speak=_repeat_audio(conditions.speak, copies),
        listen=_repeat_audio(conditions.listen, copies),
        text=_repeat_text(conditions.text, copies),
        references=_repeat_references(conditions.references, copies),
        keep={stream: mask.repeat(copies) for stream, mask in conditions.keep.items()},
    )


def hide_in_copies(conditions: Conditions, streams: list[str], batch: int) -> Conditions:
    """Hide stream i in copy i + 1 of a repeated batch; copy 0 stays whole."""
    keep = dict(conditions.keep)
    rows = (1 + len(streams)) * batch
    for i, stream in enumerate(streams):
        mask = keep.get(stream)
        mask = torch.ones(rows, dtype=torch.bool) if mask is None else mask.clone()
        mask[(i + 1) * batch : (i + 2) * batch] = False
        keep[stream] = mask
    return replace(conditions, keep=keep)


def _repeat_audio(audio: AudioFeatures | None, copies: int) -> AudioFeatures | None:
    return audio and replace(audio, tokens_BAD=audio.tokens_BAD.repeat(copies, 1, 1))


def _repeat_text(text: TextFeatures | None, copies: int) -> TextFeatures | None:
    return text and TextFeatures(text.tokens_BLD.repeat(copies, 1, 1), text.mask_BL.repeat(copies, 1))


def _repeat_references(references: References | None, copies: int) -> References | None:
    if references is None:
        return None
    pixels, latents = references.pixels_BRCHW, references.latents_BRCYX
    return References(
        kind_BR=references.kind_BR.repeat(copies, 1),
        sub_kind_BR=references.sub_kind_BR.repeat(copies, 1),
        mask_BR=references.mask_BR.repeat(copies, 1),
        pixels_BRCHW=None if pixels is None else pixels.repeat(copies, 1, 1, 1, 1),
        latents_BRCYX=None if latents is None else latents.repeat(copies, 1, 1, 1, 1),
    )
