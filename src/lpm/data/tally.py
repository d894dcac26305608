"""Counts of what became of clips: kept, dropped and repeated, by class."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table


@dataclass
class Tally:
    """What became of the clips of one class.

    Attributes:
        clips: how many there are.
        dropped: how many of them were never drawn.
        draws: how often one of them was drawn.
        most: how often the most frequent one was.
    """

    clips: int = 0
    dropped: int = 0
    draws: int = 0
    most: int = 0

    @property
    def kept(self) -> int:
        """Clips drawn at least once."""
        return self.clips - self.dropped

    @property
    def repeated(self) -> int:
        """Draws beyond the first of each clip."""
        return self.draws - self.kept

    def add(self, draws: int) -> None:
        """Count one clip that was drawn so often."""
        self.clips += 1
        self.dropped += draws == 0
        self.draws += draws
        self.most = max(self.most, draws)


def tally(labels: Iterable[str], draws: Iterable[int]) -> dict[str, Tally]:
    """Return a tally per label from each clip's label and number of draws.

    >>> tally(["happy", "neutral", "neutral"], [3, 1, 0])["neutral"]
    Tally(clips=2, dropped=1, draws=1, most=1)
    """
    found: dict[str, Tally] = {}
    for label, number in zip(labels, draws, strict=True):
        found.setdefault(label, Tally()).add(int(number))
    return dict(sorted(found.items()))


def tally_table(tallies: Mapping[str, Tally], title: str) -> Table:
    """Return a table to print: a row per label, with its share of the draws."""
    from rich.table import Table

    table = Table("", "clips", "draws", "share", "kept", "dropped", "repeated", "most", title=title)
    total = max(1, sum(row.draws for row in tallies.values()))
    for label, row in tallies.items():
        counts = (row.kept, row.dropped, row.repeated, row.most)
        table.add_row(label, str(row.clips), str(row.draws), f"{row.draws / total:.3f}", *map(str, counts))
    return table
