"""Classifier-free guidance, one scale per stream, away from a null condition or from a negative prompt."""

from collections.abc import Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from lpm.types import AudioFeatures, Backbone, Conditions, References, TextFeatures

STREAMS = ("text", "speak", "listen", "references")


def guide(
    backbone: Backbone, noisy_BTCYX: Tensor, t_BT: Tensor, conditions: Conditions, fps: float, scales: dict[str, float]
) -> Tensor:
    """Return ``full + sum over streams (scale - 1) (full - without the stream)`` from one batched forward.

    Scale 1 leaves a stream as it is, and costs nothing; one stream of scale 0 is hidden, at no cost either. Where
    ``conditions`` has a negative prompt, "without text" reads that prompt. Linear, so it may guide velocity or clean
    predictions alike. Source: Ho and Salimans 2022; LPM 1.0 guides text and each audio stream.
    """
    unknown = set(scales) - set(STREAMS)
    if unknown:
        raise ValueError(f"guidance of unknown stream {sorted(unknown)}; streams are {', '.join(STREAMS)}")
    weights = variants(scales)
    plain = replace(conditions, negative=None)
    if list(weights) == [None]:
        return backbone.forward(noisy_BTCYX, t_BT, plain, fps)
    copies, batch = len(weights), noisy_BTCYX.shape[0]
    hidden = hide_in_copies(repeat_conditions(plain, copies), list(weights), batch)
    if conditions.negative is not None and "text" in weights:
        hidden = oppose(hidden, conditions.negative, list(weights).index("text"), batch)
    output = backbone.forward(noisy_BTCYX.repeat(copies, 1, 1, 1, 1), t_BT.repeat(copies, 1), hidden, fps)
    return sum(weight * part for weight, part in zip(weights.values(), output.chunk(copies)))  # type: ignore[return-value]


def variants(scales: dict[str, float]) -> dict[str | None, float]:
    """Return the weight of every prediction that guidance needs, by the stream it lacks (None: it has all).

    >>> variants({"speak": 3.0, "text": 1.0})
    {None: 3.0, 'speak': -2.0}
    >>> variants({"references": 0.0})
    {'references': 1.0}
    """
    without: dict[str | None, float] = {
        stream: 1 - scales[stream] for stream in STREAMS if scales.get(stream, 1.0) != 1.0
    }
    weights = {None: 1 - sum(without.values()), **without}
    return {stream: weight for stream, weight in weights.items() if weight != 0}


def hide_in_copies(conditions: Conditions, hidden: Sequence[str | None], batch: int) -> Conditions:
    """Hide stream ``hidden[i]`` in copy i of a repeated batch; None hides nothing."""
    keep = dict(conditions.keep)
    for copy, stream in enumerate(hidden):
        if stream is not None:
            mask = keep.get(stream)
            mask = torch.ones(len(hidden) * batch, dtype=torch.bool) if mask is None else mask.clone()
            mask[copy * batch : (copy + 1) * batch] = False
            keep[stream] = mask
    return replace(conditions, keep=keep)


def oppose(conditions: Conditions, negative: TextFeatures, copy: int, batch: int) -> Conditions:
    """Let copy number ``copy`` of a repeated batch read the negative prompt, and all of its rows."""
    rows = slice(copy * batch, (copy + 1) * batch)
    length = negative.mask_BL.shape[1]
    text = conditions.text or _no_text(negative, len(conditions.keep["text"]))
    text, against = (_lengthen(each, max(length, text.mask_BL.shape[1])) for each in (text, negative))
    tokens, mask, keep = text.tokens_BLD.clone(), text.mask_BL.clone(), conditions.keep["text"].clone()
    tokens[rows], mask[rows], keep[rows] = against.tokens_BLD, against.mask_BL, True
    return replace(conditions, text=TextFeatures(tokens, mask), keep=conditions.keep | {"text": keep})


def repeat_conditions(conditions: Conditions, copies: int) -> Conditions:
    """Return the conditions of a batch repeated ``copies`` times along the batch."""
    return Conditions(
        speak=_repeat_audio(conditions.speak, copies),
        listen=_repeat_audio(conditions.listen, copies),
        text=_repeat_text(conditions.text, copies),
        references=_repeat_references(conditions.references, copies),
        keep={stream: mask.repeat(copies) for stream, mask in conditions.keep.items()},
        negative=_repeat_text(conditions.negative, copies),
    )


def _no_text(like: TextFeatures, rows: int) -> TextFeatures:
    return TextFeatures(like.tokens_BLD.new_zeros(rows, 1, like.tokens_BLD.shape[2]), like.mask_BL.new_zeros(rows, 1))


def _lengthen(text: TextFeatures, length: int) -> TextFeatures:
    more = length - text.mask_BL.shape[1]
    return TextFeatures(F.pad(text.tokens_BLD, (0, 0, 0, more)), F.pad(text.mask_BL, (0, more)))


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
