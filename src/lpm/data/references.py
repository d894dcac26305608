"""Identity references of a clip: which are drawn, and as which picture they are loaded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from lpm.data.schema import SUB_KINDS, Sample
from lpm.data.stages import decode
from lpm.types import REFERENCE_KINDS


def draw_references(
    references: Sequence[dict[str, Any]],
    rng: np.random.Generator,
    body_probability: float = 0.5,
    expression_probability: float = 0.5,
) -> list[int]:
    """Draw the rows of ``references`` a training clip sees: global always, each other with its kind's probability.

    The model so learns to live with any subset.

    >>> rows = [{"kind": "global"}, {"kind": "body", "sub_kind": "left"}]
    >>> draw_references(rows, np.random.default_rng(0), body_probability=0.0)
    [0]
    """
    chance = {"global": 1.0, "body": body_probability, "expression": expression_probability}
    draws = rng.random(len(references))
    return [index for index, row in enumerate(references) if draws[index] < chance[row["kind"]]]


def all_references(references: Sequence[dict[str, Any]], rng: np.random.Generator) -> list[int]:
    """Take every reference, as validation does."""
    return list(range(len(references)))


def kinds(references: Sequence[dict[str, Any]]) -> tuple[np.ndarray, np.ndarray]:
    """Return int64 (R,) indices of the kinds in ``REFERENCE_KINDS`` and of the sub-kinds in ``SUB_KINDS[kind]``."""
    kind = [REFERENCE_KINDS.index(row["kind"]) for row in references]
    sub_kind = [SUB_KINDS[row["kind"]].index(row.get("sub_kind", "")) for row in references]
    return np.array(kind, np.int64), np.array(sub_kind, np.int64)


def reference_pixels(sample: Sample, rows: Sequence[int], height: int, width: int) -> np.ndarray:
    """Return the images ``rows`` as uint8 (R, height, width, 3); other sizes are fitted in and padded black."""
    names = [sample["json"]["references"][row]["file"] for row in rows]
    images = [_fit(decode(sample, name), height, width) for name in names]
    return np.stack(images) if images else np.zeros((0, height, width, 3), np.uint8)


def _fit(image: np.ndarray, height: int, width: int) -> np.ndarray:
    if image.shape[:2] == (height, width):
        return image
    return np.asarray(ImageOps.pad(Image.fromarray(image), (width, height)))
