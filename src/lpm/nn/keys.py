"""Do weights fit a network? Every key that does not, in one table."""

from collections.abc import Mapping
from typing import NamedTuple

from torch import Size, Tensor


class KeyFault(NamedTuple):
    """One key that does not fit; ``needs`` is None for a key that the network does not have, ``has`` for one that the
    weights lack.
    """

    name: str
    needs: Size | None
    has: Size | None

    @property
    def kind(self) -> str:
        """``missing``, ``unknown`` or ``misshapen``."""
        return "missing" if self.has is None else "unknown" if self.needs is None else "misshapen"


class KeysDiffer(ValueError):
    """Weights do not fit: the message is a table of all keys that are missing, unknown or misshapen.

    Attributes:
        summary: the table's title alone, one line.
        faults: the table's rows, missing keys first.
    """

    def __init__(self, what: str, faults: list[KeyFault]) -> None:
        counts = {kind: sum(fault.kind == kind for fault in faults) for kind in ("missing", "unknown", "misshapen")}
        self.summary = f"{what}: " + ", ".join(f"{number} {kind}" for kind, number in counts.items() if number)
        self.faults = faults
        super().__init__("\n".join([self.summary, *key_table(faults)]))


def key_table(faults: list[KeyFault]) -> list[str]:
    """Return the lines of a table, columns aligned.

    >>> print(*key_table([KeyFault("out.bias", Size([4]), None), KeyFault("head", Size([4]), Size([2, 4]))]), sep="\\n")
    key       is         needs  has
    out.bias  missing    (4,)   -
    head      misshapen  (4,)   (2, 4)
    """
    rows: list[tuple[str, ...]] = [("key", "is", "needs", "has")]
    rows += [(fault.name, fault.kind, plain(fault.needs), plain(fault.has)) for fault in faults]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    return ["  ".join(word.ljust(width) for word, width in zip(row, widths)).rstrip() for row in rows]


def plain(shape: Size | None) -> str:
    """Return a shape as text, a dash for none."""
    return "-" if shape is None else str(tuple(shape))


def check_keys(needed: Mapping[str, Size], found: Mapping[str, Size], what: str) -> None:
    """Raise ``KeysDiffer`` unless the weights found have the names and shapes that are needed.

    >>> check_keys({"a": Size([2])}, {"a": Size([2])}, "weights")
    """
    faults = [
        KeyFault(name, needed.get(name), found.get(name))
        for name in sorted(needed.keys() | found.keys())
        if needed.get(name) != found.get(name)
    ]
    if faults:
        order = ("missing", "unknown", "misshapen")
        raise KeysDiffer(what, sorted(faults, key=lambda fault: order.index(fault.kind)))


def shapes(tensors: Mapping[str, Tensor]) -> dict[str, Size]:
    """Return the shape of each tensor."""
    return {name: tensor.shape for name, tensor in tensors.items()}
