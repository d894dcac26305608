"""Clean pictures beside the tokens: the first frame and the references, whose content a head may move."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from lpm.backbone.segments import shown
from lpm.types import REFERENCE_KINDS, REFERENCE_LIMITS, Conditions, References

PLACES = sum(REFERENCE_LIMITS.values())
"""Places of references: the global one, four body views, eight expressions."""


class Pictures(NamedTuple):
    """What a head sees.

    Attributes:
        first_BCYX: latents of the clean first frame.
        others_BRCYX: latents of the references in the size of the first frame, zero where none is shown; R may be 0.
        place_BR: int64, which of the ``PLACES`` each reference has.
    """

    first_BCYX: Tensor
    others_BRCYX: Tensor
    place_BR: Tensor


def pictures_of(first_BCYX: Tensor, conditions: Conditions) -> Pictures:
    """Return the pictures of a clip with this first frame; references of another size are resized."""
    references = conditions.references
    if references is None or references.latents_BRCYX is None:
        none = first_BCYX[:, None][:, :0]
        return Pictures(first_BCYX, none, torch.zeros(none.shape[:2], dtype=torch.int64, device=none.device))
    latents = references.latents_BRCYX.to(first_BCYX)
    if latents.shape[-2:] != first_BCYX.shape[-2:]:
        sized = interpolate(latents.flatten(0, 1), first_BCYX.shape[-2:], mode="bilinear", antialias=True)
        latents = sized.unflatten(0, latents.shape[:2])
    mask_BR = shown(references, conditions.keep.get("references"))
    return Pictures(first_BCYX, latents * mask_BR[:, :, None, None, None], places(references).to(latents.device))


def places(references: References) -> Tensor:
    """Return the place of each reference, (B, R)."""
    counts = [REFERENCE_LIMITS[kind] for kind in REFERENCE_KINDS]
    first = torch.tensor([sum(counts[:kind]) for kind in range(len(counts))], device=references.kind_BR.device)
    return first[references.kind_BR.long()] + references.sub_kind_BR.long()
