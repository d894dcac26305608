"""Model cards: what the Hub reads (YAML), what a person reads, and how to load it."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCard, ModelCardData

from lpm.hub.remote import is_repository
from lpm.hub.trust import PLACES

CARD = "README.md"
TAGS = ("lpm", "video-generation", "talking-head")


@dataclass(frozen=True)
class Card:
    """What is to be said of a model beyond what its spec tells.

    Attributes:
        title: heading; the model's class if empty.
        text: what it does, how it was trained, its limits; markdown.
        license: of the weights; say which one allows what they were trained on.
        base: repository or weights that this model was adapted from.
        figures: measured values, such as ``figures("performance.json")``; rows of (metric, value).
        tags: for the Hub's search, beside lpm's own.
    """

    title: str = ""
    text: str = ""
    license: str = "apache-2.0"
    base: str | None = None
    figures: tuple[tuple[str, str], ...] = ()
    tags: tuple[str, ...] = field(default=())


def write_card(
    card: Card, folder: Path | str, kind: str, task: str, load: str, spec: Any = None, library: str = "lpm"
) -> None:
    """Write ``README.md``.

    Args:
        card: what is to be said.
        folder: of the model.
        kind: the model's class, such as ``lpm.sample.PerformanceModel``.
        task: the Hub's ``pipeline_tag``.
        load: Python that loads the model.
        spec: what the model is built from; the files of other people that it names are listed.
        library: that loads the model.
    """
    data = ModelCardData(
        license=card.license,
        library_name=library,
        pipeline_tag=task,
        tags=[*TAGS, *card.tags],
        base_model=card.base if card.base and is_repository(card.base) and not Path(card.base).exists() else None,
    )
    sections = [
        f"# {card.title or kind.rpartition('.')[2]}",
        card.text.strip(),
        f"## Load it\n\n```python\n{load}\n```",
        f"Adapted from `{card.base}`." if card.base else "",
        needs(spec),
        table(card.figures),
    ]
    text = "\n\n".join(section for section in sections if section)
    ModelCard(f"---\n{data.to_yaml()}\n---\n\n{text}\n").save(Path(folder) / CARD)


def needs(spec: Any) -> str:
    """Return the section on weights that a spec names by their place, and that are not in the folder; else nothing."""
    rows = [f"- `{place}`: `{value}`" for place, value in named_files(spec)]
    lead = "## Needs\n\nWeights of others, at these places or wherever `config.json` is changed to point:\n"
    return "\n".join([lead, *rows]) if rows else ""


def named_files(spec: Any, place: str = "") -> Iterator[tuple[str, str]]:
    """Yield the arguments named ``weights`` or ``folder`` that a spec fills, with their places.

    >>> list(named_files({"init_args": {"text": {"init_args": {"weights": "umt5"}}}}))
    [('text', 'umt5')]
    """
    for name, value in ((spec or {}).get("init_args") or {}).items():
        if name in PLACES and value:
            yield place, str(value)
        elif isinstance(value, dict):
            yield from named_files(value, f"{place}.{name}".lstrip("."))


def table(rows: tuple[tuple[str, str], ...]) -> str:
    """Return the section with figures; nothing without any."""
    lines = [f"| {name} | {value} |" for name, value in rows]
    return "\n".join(["## Figures\n", "| metric | value |", "| --- | --- |", *lines]) if lines else ""


def figures(path: Path | str) -> tuple[tuple[str, str], ...]:
    """Read the figures of a run, ``performance.json`` or ``preference.json``: every estimate with its interval.

    Raises:
        ValueError: no such file, or no estimates in it.
    """
    path = Path(path)
    try:
        rows = tuple(estimates(json.loads(path.read_text())))
    except (OSError, json.JSONDecodeError) as error:
        raise ValueError(f"figures {path} cannot be read ({error}); give the performance.json of a run") from None
    if not rows:
        raise ValueError(f"{path} holds no estimates; give the performance.json or preference.json of a run")
    return rows


def estimates(content: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Yield the estimates (value, low, high) anywhere in a report.

    >>> list(estimates({"held_out": {"lips": {"value": 0.5, "low": 0.25, "high": 0.75}}}))
    [('held_out / lips', '0.500 [0.250, 0.750]')]
    """
    if not isinstance(content, dict):
        return
    if {"value", "low", "high"} <= content.keys():
        if content["value"] is not None:
            yield name, f"{content['value']:.3f} [{content['low']:.3f}, {content['high']:.3f}]"
        return
    for key, value in content.items():
        yield from estimates(value, f"{name} / {key}" if name else str(key))
