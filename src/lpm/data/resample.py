"""Resampling as a stage: samples in, each of them no, one or several times out, all counted."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping

import numpy as np

from lpm.data.mixture import activity
from lpm.data.schema import Sample
from lpm.data.tally import Tally


def resample(
    samples: Iterable[Sample],
    weights: Mapping[str, float],
    tallies: dict[str, Tally],
    seed: int = 0,
    label: Callable[[Sample], str] = activity,
) -> Iterator[Sample]:
    """Yield each sample ``weights[key]`` times on average, fractions by chance; those without a weight once.

    A copy is a valid sample with a key of its own, ``KEY-again1``. What a sample becomes depends on the seed and its
    key alone. Use it to write shards for a tuning; while training, ``Mixture`` does the same without fixing the choice.

    Args:
        samples: with ``json`` parsed, as ``valid`` yields them.
        weights: by key, such as those of ``Draws.chances`` or ``ListenerEmphasis``.
        tallies: kept, dropped and repeated samples are counted here, by label.
        seed: of chance.
        label: class of a sample in the tallies.
    """
    for sample in samples:
        key = sample["__key__"]
        chance = np.random.default_rng((seed, zlib.crc32(key.encode()))).random()
        copies = int(weights.get(key, 1.0) + chance)
        tallies.setdefault(label(sample), Tally()).add(copies)
        yield from (again(sample, number) if number else sample for number in range(copies))


def again(sample: Sample, number: int) -> Sample:
    """Return copy ``number`` of a sample, with a key of its own."""
    key = f"{sample['__key__']}-again{number}"
    meta = sample["json"]
    return {**sample, "__key__": key, "json": {**meta, "key": key} if "key" in meta else meta}
