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
    share: float = 0.3,
    kinds: Sequence[str] = ("body", "expression"),
) -> list[int]:
    """Draw the rows of ``references`` a training clip sees: the global one always, others in a share of the clips.

    Those clips see a random, non-empty subset of what they have of ``kinds``, so that the model learns to live with any
    (LPM 1.0, third stage of the curriculum: expressions and body views on 30 % of the clips). A clip that has no global
    one sees its first in its place.

    >>> rows = [{"kind": "global"}, {"kind": "body", "sub_kind": "left"}]
    >>> draw_references(rows, np.random.default_rng(0), share=0.0)
    [0]
    >>> draw_references(rows, np.random.default_rng(0), share=1.0)
    [0, 1]
    """
    extra = [index for index, row in enumerate(references) if row["kind"] in kinds]
    chosen = references_of(references, rng)
    if extra and rng.random() < share:
        number = int(rng.integers(1, len(extra) + 1))
        chosen += rng.choice(extra, size=number, replace=False).tolist()
    return sorted(set(chosen))


def draw_kinds(references: Sequence[dict[str, Any]], rng: np.random.Generator, share: float = 0.75) -> list[int]:
    """Draw which kinds a training clip sees: the global reference always, each other kind whole or not at all.

    Each is seen in ``share`` of the clips, [0, 1], independently of the others, so that what a clip needs is more often
    there than in a random subset. Returns rows of ``references``.

    >>> rows = [{"kind": "global"}, {"kind": "body"}, {"kind": "expression"}, {"kind": "body"}]
    >>> draw_kinds(rows, np.random.default_rng(0), share=1.0)
    [0, 1, 2, 3]
    """
    return references_of(references, rng, ["global", *(kind for kind in REFERENCE_KINDS[1:] if rng.random() < share)])


def all_references(references: Sequence[dict[str, Any]], rng: np.random.Generator) -> list[int]:
    """Take every reference, as validation does."""
    return list(range(len(references)))


def references_of(
    references: Sequence[dict[str, Any]], rng: np.random.Generator, kinds: Sequence[str] = ("global",)
) -> list[int]:
    """Take every reference of some kinds, by default the global one alone.

    A clip sees at least one: its first, where it has none of these kinds.

    >>> references_of([{"kind": "body"}, {"kind": "body"}], np.random.default_rng(0))
    [0]
    """
    every = range(len(references))
    return [index for index in every if references[index]["kind"] in kinds] or list(every[:1])


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
