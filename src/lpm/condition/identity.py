"""Identity references: pictures of the character -> latents, told apart by kind and sub-kind.

The backbone embeds the latents with its own patch embedding (no new parameters) and separates kinds by position
(LPM 1.0, identity-aware multi-reference conditioning).
"""

import dataclasses
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from lpm.types import REFERENCE_KINDS, REFERENCE_LIMITS, References


def check_references(references: References) -> None:
    """Raise ValueError unless every row has 1 global, at most 4 body and at most 8 expression references, or fewer.

    At least one reference of any kind is needed, and none may be there twice: each view or expression has one place.
    """
    if int(references.mask_BR.sum(dim=1).min()) == 0:
        raise ValueError("0 references; give at least one picture of the character")
    for index, name in enumerate(REFERENCE_KINDS):
        shown_BR = (references.kind_BR == index) & references.mask_BR
        count = int(shown_BR.sum(dim=1).max())
        limit = REFERENCE_LIMITS[name]
        if count > limit:
            raise ValueError(f"{count} {name} references are above the limit of {limit}; keep the {limit} best")
        if int((one_hot(references.sub_kind_BR) * shown_BR[..., None]).sum(dim=1).max()) > 1:
            raise ValueError(f"{name} references show the same twice; keep one of each view and expression")


@torch.no_grad()
def encode_references(encode: Callable[[Tensor], Tensor], references: References) -> References:
    """Return the references with ``latents_BRCYX``, each picture encoded alone as a video of one frame.

    ``encode`` is a codec's ``encode``. References that already have latents come back as they are.
    """
    check_references(references)
    if references.latents_BRCYX is not None:
        return references
    if references.pixels_BRCHW is None:
        raise ValueError("references have neither pixels nor latents; load one of them")
    rows = references.pixels_BRCHW.shape[0]
    latents = encode(references.pixels_BRCHW.flatten(0, 1).unsqueeze(1)).squeeze(1)
    return dataclasses.replace(references, latents_BRCYX=latents.unflatten(0, (rows, -1)))
