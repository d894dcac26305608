"""What a shard sample must hold, and one clear line for whatever it lacks."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from lpm.types import REFERENCE_KINDS, REFERENCE_LIMITS, STATES

SCHEMA_VERSION = "1.0"
BODY_VIEWS = ("front", "left", "right", "rear")
EXPRESSIONS = ("happy", "sad", "angry", "surprised", "afraid", "disgusted", "contemptuous", "sleepy")
SUB_KINDS: dict[str, tuple[str, ...]] = {"global": ("",), "body": BODY_VIEWS, "expression": EXPRESSIONS}

Sample = dict[str, Any]
"""One shard sample: ``__key__`` and its fields (``mp4``, ``speak.wav``, ``json``, ...), as stored or decoded.

``mp4`` and ``json`` are required; optional are ``speak.wav`` and ``listen.wav`` (16 kHz mono), ``ref.NN.png``,
``truth.npz`` (``controls`` (T, K) float32 and their ``names``), ``latent.npy`` (T', C, Y, X) float16 of the whole clip,
``still.npy`` (T', C, Y, X): frame 4k encoded alone, and ``ref.npy`` (R, C, Y, X) in the order of ``json`` references.
In pairs of preference ``mp4`` is the winner, beside it ``loser.mp4`` and the latents ``winner.npy`` and ``loser.npy``
(T', C, Y, X); the scores of both are in ``json`` under ``preference``. In trajectories ``mp4`` is what the teacher
performed, and ``trajectory.npy`` (S, T', C, Y, X) its latents at S falling noise levels, told in ``json`` under
``trajectory``; the last one is clean.
"""


class SchemaError(ValueError):
    """A sample that breaks the schema; ``reason`` is short and countable, the message says what and how to cure it."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def validate(sample: Sample) -> None:
    """Raise SchemaError unless ``sample`` has the form of ``Sample``; media are not decoded."""
    key = sample.get("__key__", "?")
    for name in ("mp4", "json"):
        if name not in sample:
            raise SchemaError(f"no {name}", f"sample {key} has no {name}; every sample needs mp4 and json")
    meta = read_meta(sample)
    _check_header(key, meta)
    _check_states(key, meta)
    references = meta.get("references", [])
    if not isinstance(references, list) or not all(isinstance(row, dict) for row in references):
        raise SchemaError("references", f"sample {key}: references are no list of objects; write file, kind, sub_kind")
    check_references(references, key)
    _check_reference_files(key, sample, references)


def read_meta(sample: Sample) -> dict[str, Any]:
    """Return the ``json`` field as a dict, parsed if it is still bytes."""
    meta = sample["json"]
    if isinstance(meta, bytes | str):
        try:
            meta = json.loads(meta)
        except ValueError as error:
            raise SchemaError("json", f"sample {sample.get('__key__', '?')}: json cannot be parsed: {error}") from error
    if not isinstance(meta, dict):
        raise SchemaError("json", f"sample {sample.get('__key__', '?')}: json is no object; write the fields of Sample")
    return meta


def check_references(references: Sequence[dict[str, Any]], key: str = "?") -> None:
    """Raise SchemaError for unknown kinds or sub-kinds, more of a kind than its limit, or a sub-kind twice.

    >>> check_references([{"kind": "expression", "sub_kind": "happy"}] * 9)
    Traceback (most recent call last):
    ...
    lpm.data.schema.SchemaError: sample ? has 9 expression references, at most 8 are allowed; remove 1
    """
    for row in references:
        kind, sub_kind = row.get("kind"), row.get("sub_kind", "")
        if kind not in REFERENCE_KINDS:
            raise SchemaError("reference kind", f"sample {key}: reference kind {kind!r} is none of {REFERENCE_KINDS}")
        if sub_kind not in SUB_KINDS[kind]:
            raise SchemaError(
                "reference sub-kind", f"sample {key}: {kind} reference {sub_kind!r} is none of {SUB_KINDS[kind]}"
            )
    for kind, limit in REFERENCE_LIMITS.items():
        number = sum(row["kind"] == kind for row in references)
        if number > limit:
            raise SchemaError(
                f"too many {kind} references",
                f"sample {key} has {number} {kind} references, at most {limit} are allowed; remove {number - limit}",
            )
    counted = Counter((row["kind"], row.get("sub_kind", "")) for row in references)
    for (kind, sub_kind), number in counted.items():
        if number > 1:
            raise SchemaError(
                "repeated reference",
                f"sample {key} has {number} {kind} references {sub_kind!r}, which has one place; keep one",
            )


def states_to_frames(states: Sequence[Sequence[Any]], frames: int) -> np.ndarray:
    """Expand spans [start, end, label] to int8 (frames,): the index into ``STATES``, -1 where unknown.

    >>> states_to_frames([[0, 2, "speaking"], [2, 3, "idle"]], 4).tolist()
    [0, 0, 2, -1]
    """
    row = np.full(frames, -1, np.int8)
    for start, end, label in states:
        row[start:end] = STATES.index(label)
    return row


def frames_to_states(row: np.ndarray) -> list[list[Any]]:
    """Collect equal neighbours of (T,) into spans [start, end, label]; the inverse of ``states_to_frames``.

    >>> frames_to_states(np.array([0, 0, 2, -1]))
    [[0, 2, 'speaking'], [2, 3, 'idle']]
    """
    edges = [0, *(np.flatnonzero(np.diff(row)) + 1).tolist(), len(row)]
    return [[a, b, STATES[row[a]]] for a, b in pairwise(edges) if b > a and row[a] >= 0]


def _check_header(key: str, meta: dict[str, Any]) -> None:
    version = meta.get("schema_version")
    if version != SCHEMA_VERSION:
        raise SchemaError(
            "schema version",
            f"sample {key} has schema version {version!r}, this reader needs {SCHEMA_VERSION!r}; rebuild the shard",
        )
    if "key" in meta and meta["key"] != key:
        raise SchemaError("key", f"sample {key} calls itself {meta['key']!r} in json; make both equal")
    if not isinstance(caption := meta.get("caption", ""), str):
        raise SchemaError("caption", f"sample {key}: caption {caption!r} is no text; write a string, or leave it out")
    if not isinstance(identity := meta.get("identity", ""), str | int):
        raise SchemaError(
            "identity", f"sample {key}: identity {identity!r} is no name; write a string, or leave it out"
        )
    for name in ("fps", "frames", "width", "height"):
        value = meta.get(name)
        whole = name == "fps" or isinstance(value, int)
        if isinstance(value, bool) or not isinstance(value, int | float) or not whole or not value > 0:
            kind = "number" if name == "fps" else "whole number"
            raise SchemaError(name, f"sample {key}: {name} {value!r} is not a {kind} above 0; measure it from the mp4")


def _check_states(key: str, meta: dict[str, Any]) -> None:
    at, states = 0, meta.get("states", [])
    if not isinstance(states, list):
        raise SchemaError("states", f"sample {key}: states {states!r} are no list; write [[start, end, label], ...]")
    for span in states:
        if not isinstance(span, list | tuple) or len(span) != 3 or span[2] not in STATES:
            raise SchemaError("state label", f"sample {key}: state {span!r} is not [start, end, one of {STATES}]")
        if any(not isinstance(end, int) or isinstance(end, bool) for end in span[:2]):
            raise SchemaError(
                "state ends", f"sample {key}: state {span!r} has ends that are no whole frames; round them"
            )
        if span[0] != at or span[1] <= at:
            raise SchemaError(
                "states cover",
                f"sample {key}: state {span!r} should start at frame {at} and be longer than 0; close the gap",
            )
        at = span[1]
    if at != meta["frames"]:
        raise SchemaError(
            "states cover", f"sample {key}: states cover {at} of {meta['frames']} frames; label every frame"
        )


def _check_reference_files(key: str, sample: Sample, references: Sequence[dict[str, Any]]) -> None:
    for row in references:
        name = row.get("file")
        if not isinstance(name, str) or not re.fullmatch(r"ref\.\d+\.png", name):
            raise SchemaError("reference file", f"sample {key}: reference file {name!r} is not ref.NN.png; rename it")
        if name not in sample:
            raise SchemaError("reference file", f"sample {key}: reference file {name} is missing; add it to the sample")
