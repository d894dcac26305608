"""Prompts that change in the course of a video, as a file."""

from pathlib import Path
from typing import Any

import yaml

from lpm.sample import spread
from lpm.types import Prompt


def read_prompts(path: Path, fps: float) -> list[Prompt]:
    """Read a JSON or YAML list: of ``{start: SECONDS, text: PROMPT}``, or of prompts alone, one per 125 frames.

    Raises:
        ValueError: the file is missing or holds something else.
    """
    if not path.is_file():
        raise ValueError(f"prompts {path} are missing; check the path")
    try:
        rows = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is neither JSON nor YAML: {' '.join(str(error).split())}") from error
    if isinstance(rows, list) and rows and all(isinstance(row, str) for row in rows):
        return spread(rows, fps)
    if not isinstance(rows, list) or not rows:
        raise ValueError(f"{path} holds no list; give prompts, or rows of {{start: SECONDS, text: PROMPT}}")
    return [to_prompt(row, path) for row in rows]


def to_prompt(row: Any, path: Path) -> Prompt:
    """Turn one row of a file into a prompt."""
    start, text = (row.get("start"), row.get("text")) if isinstance(row, dict) and len(row) == 2 else (None, None)
    if not isinstance(text, str) or not isinstance(start, int | float) or start < 0:
        raise ValueError(f"{path}: {row!r} is not {{start: SECONDS, text: PROMPT}} with SECONDS of 0 or more")
    return Prompt(float(start), text)
