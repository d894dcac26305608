"""Performers that see some of a clip's references: one kind or all, or those of somebody else."""

from collections.abc import Iterable
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from lpm.sample.performance import PerformanceModel
from lpm.train.measure import Performer, performers, through_codec
from lpm.types import REFERENCE_KINDS, Batch, References

SETS = {
    "global": ("global",),
    "body": ("global", "body"),
    "expression": ("global", "expression"),
    "all": ("global", "body", "expression"),
}


def reference_performers(
    model: PerformanceModel, steps: int = 2, chunk: int = 24, seed: int = 0
) -> dict[str, Performer]:
    """Return what makes the videos: controls, and the model with each set of references.

    The controls are ``truth``, ``codec`` (the truth encoded and decoded: the ceiling), ``still`` (the first picture for
    ever) and ``others`` (all references, but body views and expressions are those of another character of the batch).
    """
    perform = performers(model, ["generated"], steps, chunk, seed)["generated"]
    return {
        "truth": true_video,
        "codec": partial(through_codec, model.codec),
        "still": still_video,
        **{name: partial(perform_seeing, perform, kinds) for name, kinds in SETS.items()},
        "others": lambda batch: perform(with_others(batch)),
    }


def true_video(batch: Batch) -> Tensor:
    """Return the clips as they are."""
    assert batch.video_BTCHW is not None
    return batch.video_BTCHW


def still_video(batch: Batch) -> Tensor:
    """Return the first picture, as often as the clip has frames."""
    video = true_video(batch)
    return video[:, :1].expand_as(video)


def perform_seeing(perform: Performer, kinds: Iterable[str], batch: Batch) -> Tensor:
    """Return what a performer makes with references of these kinds alone."""
    return perform(with_kinds(batch, kinds))


def with_kinds(batch: Batch, kinds: Iterable[str]) -> Batch:
    """Return the batch with references of these kinds alone; columns that no row needs are cut off."""
    wanted = torch.tensor([REFERENCE_KINDS.index(kind) for kind in kinds])
    mask_BR = batch.references.mask_BR & torch.isin(batch.references.kind_BR, wanted)
    columns = mask_BR.any(dim=0).nonzero()[:, 0]
    return replace(batch, references=pick(replace(batch.references, mask_BR=mask_BR), columns[None]))


def with_others(batch: Batch) -> Batch:
    """Return the batch in which each row has its own global reference and the rest of the next row of someone else.

    Raises:
        ValueError: all rows are of one character, or do not begin with their global reference.
    """
    names, rows = [meta["identity"] for meta in batch.meta], range(len(batch.meta))
    found = [[r for n in rows if names[r := (row + n) % len(rows)] != names[row]] for row in rows]
    if not all(found):
        raise ValueError(f"a batch of {names[0]} alone has no references of others; give larger batches")
    if (batch.references.kind_BR[:, 0] != 0).any():
        raise ValueError("exchanging references needs the global one first; keep the order of the corpus")
    other_B1 = torch.tensor([[others[0]] for others in found])
    columns_R = torch.arange(batch.references.mask_BR.shape[1])
    rows_BR = torch.where(columns_R == 0, torch.arange(len(rows))[:, None], other_B1)
    return replace(batch, references=pick(batch.references, columns_R, rows_BR))


def pick(references: References, columns: Tensor, rows: Tensor | None = None) -> References:
    """Return columns (R,) or (1, R) of the references, of rows (B, R) if given."""
    at = (torch.arange(len(references.mask_BR))[:, None] if rows is None else rows, columns)
    return References(
        kind_BR=references.kind_BR[at],
        sub_kind_BR=references.sub_kind_BR[at],
        mask_BR=references.mask_BR[at],
        pixels_BRCHW=None if references.pixels_BRCHW is None else references.pixels_BRCHW[at],
        latents_BRCYX=None if references.latents_BRCYX is None else references.latents_BRCYX[at],
    )
