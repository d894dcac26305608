"""Rows of a benchmark of streams: a backbone, perhaps a refiner, and what is changed about them.

    NAME=BACKBONE[,REFINER][,OPTION=VALUE...]

BACKBONE and REFINER are checkpoints or weights folders (or ``lpm.sample.base_puppet``). Options:

    history=LEVEL     noise level of the backbone's history; 0 is clean, .2 as the recipes have it
    sink=CHUNKS       chunks that are never forgotten, 0 for none
    window=CHUNKS     last chunks that are remembered
    references=no     the streams see their first picture alone
    evaluations=N     of the backbone for a chunk; without a refiner all 3 of the pair, else 2
    eight_bit=yes     both networks keep their chunks in 8 bits
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

from lpm.backbone import CausalDiT
from lpm.nn import EightBit
from lpm.sample import FewSteps, online_levels
from lpm.sample.pretrained import is_builder
from lpm.stream import StreamSampler
from lpm.stream.sampler import causal
from lpm.train.checkpoint import load_model

CHUNK, SINK, WINDOW = 6, 3, 2


@dataclass(frozen=True)
class Row:
    """What one row runs; see the module."""

    name: str
    backbone: str
    refiner: str | None = None
    history: float = 0.2
    sink: int | None = None
    window: int | None = None
    references: bool = True
    evaluations: int | None = None
    eight_bit: bool = False

    def sampler(self) -> StreamSampler:
        """Return what streams."""
        model = load_model(self.backbone)
        model.backbone = self._remembering(model.backbone)
        refiner = None if self.refiner is None else self._remembering(load_model(self.refiner).backbone)
        evaluations = self.evaluations or (3 if refiner is None else 2)
        steps = FewSteps(online_levels(model.shift)[:evaluations], self.history)
        return StreamSampler(model, refiner, steps, stored=EightBit if self.eight_bit else None)

    def stamp(self) -> list[str]:
        """Return what tells a row from that of other runs: its options, and size and time of its files."""
        files = [Path(source) for source in (self.backbone, self.refiner) if source and Path(source).exists()]
        files = [file for place in files for file in (sorted(place.iterdir()) if place.is_dir() else [place])]
        return [str(self), *(f"{file} {file.stat().st_size} {file.stat().st_mtime_ns}" for file in files)]

    def _remembering(self, network: object) -> CausalDiT:
        """Return a network that streams, with the row's sink and window."""
        network = causal(network, CHUNK, SINK, WINDOW)  # type: ignore[arg-type]
        network.sink = network.sink if self.sink is None else self.sink
        network.window = network.window if self.window is None else self.window
        return network


ANSWERS = {"no": False, "yes": True}
OPTIONS = {
    "history": float,
    "sink": int,
    "window": int,
    "references": ANSWERS.__getitem__,
    "evaluations": int,
    "eight_bit": ANSWERS.__getitem__,
}


def parse_row(text: str) -> Row:
    """Return the row of an argument.

    >>> row = parse_row("clean=a.ckpt,b.ckpt,history=0,references=no")
    >>> row.name, row.backbone, row.refiner, row.history, row.references
    ('clean', 'a.ckpt', 'b.ckpt', 0.0, False)
    """
    name, _, rest = text.partition("=")
    words = [word for word in rest.split(",") if word]
    places, options = [w for w in words if "=" not in w], [w.split("=", 1) for w in words if "=" in w]
    try:
        if not name.isidentifier() or not 1 <= len(places) <= 2:
            raise ValueError
        chosen = {key: OPTIONS[key](value) for key, value in options}
    except (KeyError, ValueError):
        raise argparse.ArgumentTypeError(
            f"{text} is no row; give NAME=BACKBONE[,REFINER][,OPTION=VALUE...], NAME one word, with options of "
            f"{', '.join(OPTIONS)}"
        ) from None
    return Row(name, *places, **chosen)


def check_rows(parser: argparse.ArgumentParser, rows: list[Row], *taken: str) -> None:
    """End with an error where weights are missing, before anything is measured, or where two rows have one name."""
    for source in [source for row in rows for source in (row.backbone, row.refiner) if source]:
        if not Path(source).exists() and not is_builder(source):
            parser.error(f"weights {source} are missing; give a checkpoint, a weights folder or an import path")
    names = [*taken, *(row.name for row in rows)]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        parser.error(f"several rows are named {', '.join(twice)}; give each a name of its own")
