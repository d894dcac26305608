"""How a long video is cut into chunks, and which prompt holds in each."""

import math
from collections.abc import Iterator
from typing import NamedTuple

from lpm.types import Batch, Prompt


class ChunkPlan(NamedTuple):
    """One chunk, in latent frames.

    Attributes:
        made: frames that exist before it, the first picture included.
        again: of these, the last ones, which it makes once more.
        keep: frames before those that it sees.
        more: frames that it adds.
        ready: frames that are final after it and were not before.
        held: frames at the end that the next chunk may still change.
    """

    made: int
    again: int
    keep: int
    more: int
    ready: int
    held: int


def plan_chunks(total: int, chunk: int, history: int, overlap: int = 0) -> Iterator[ChunkPlan]:
    """Yield the chunks that follow the first picture until there are ``total`` latent frames.

    >>> for each in plan_chunks(total=8, chunk=4, history=2, overlap=1): print(each)
    ChunkPlan(made=1, again=0, keep=0, more=4, ready=3, held=1)
    ChunkPlan(made=5, again=1, keep=2, more=3, ready=4, held=0)
    """
    if history < 1:
        raise ValueError(f"history of {history} latent frames; a chunk needs 1 or more to go on from")
    if not 0 <= overlap < chunk:
        raise ValueError(
            f"overlap of {overlap} latent frames, chunks have {chunk}; choose 0 to {chunk - 1}, such as 1, or longer "
            "chunks"
        )
    made, final = 1, 1
    while made < total:
        again = min(overlap, made - 1)
        more = min(chunk, total - made)
        held = overlap if made + more < total else 0
        yield ChunkPlan(made, again, min(history, made - 1 - again), more, made + more - held - final, held)
        made += more
        final = made - held


def texts_at(batch: Batch, seconds: float) -> list[str]:
    """Return the prompt of each row at a time: the last of its ``prompts`` that has begun, ``text`` before the first.

    Source: LPM 1.0, long video: the prompt may change from chunk to chunk.
    """
    if batch.prompts is None:
        return batch.text
    begun = [[each for each in row if each.start <= seconds + 1e-6] for row in batch.prompts]
    return [
        max(row, key=lambda each: each.start).text if row else text for row, text in zip(begun, batch.text, strict=True)
    ]


def spread(texts: list[str], fps: float, frames: int = 125) -> list[Prompt]:
    """Return prompts that take turns of ``frames`` video frames each; 125 in LPM 1.0.

    >>> spread(["nods", "laughs"], fps=25.0)
    [Prompt(start=0.0, text='nods'), Prompt(start=5.0, text='laughs')]
    """
    check_rate(fps)
    return [Prompt(number * frames / fps, text) for number, text in enumerate(texts)]


def check_rate(fps: float) -> None:
    """Raise ValueError unless ``fps``, frames a second, is positive and finite."""
    if not 0 < fps < math.inf:
        raise ValueError(f"fps of {fps} is not positive and finite; choose 24")
