"""What long benchmarks keep of each part, so that a run that was cut off goes on, and what has not changed stays."""

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch


def kept(file: Path | None, make: Callable[[], Any]) -> Any:
    """Return what an earlier run has kept in a file, else make it and keep it; without a file, make it."""
    if file is not None and file.is_file():
        return torch.load(file, weights_only=False)  # written by this function
    made = make()
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_suffix(".part")
        torch.save(made, part)
        part.replace(file)
    return made


def place(folder: Path | None, name: str, words: Iterable[str]) -> Path | None:
    """Return the file of a part that all the words decide; None without a folder.

    >>> place(Path("kept"), "base", ["seed 0"]).name
    'base-52a1d6c1e99d.pt'
    """
    if folder is None:
        return None
    return folder / f"{name}-{hashlib.blake2b(chr(10).join(words).encode(), digest_size=6).hexdigest()}.pt"
