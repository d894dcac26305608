"""Look at every sample of a folder of shards: schema, media and checksums."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from rich.table import Table
from rich.text import Text

from lpm.data.puppets.progress import track
from lpm.data.schema import Sample, SchemaError, validate
from lpm.data.shards import Shard, read_index, read_shard
from lpm.data.stages import check_media


@dataclass
class ShardReport:
    """What was found in one shard: good and bad samples, faults by reason, and the first fault in full."""

    name: str
    good: int = 0
    bad: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    first: str = ""

    def fault(self, reason: str, message: str) -> None:
        """Count a fault."""
        self.faults[reason] += 1
        self.first = self.first or message


@dataclass
class Report:
    """What was found in a folder of shards."""

    shards: list[ShardReport]

    @property
    def wrong(self) -> int:
        """Number of faults."""
        return sum(shard.faults.total() for shard in self.shards)

    def table(self) -> Table:
        """Return one line per shard and a total."""
        table = Table("shard", "samples", "faults", "first fault", title="shards")
        for shard in self.shards:
            faults = ", ".join(f"{count} {reason}" for reason, count in shard.faults.most_common())
            told = (shard.name, str(shard.good), faults or "none", shard.first)
            table.add_row(*map(Text, told))  # what stands in brackets is no markup
        table.add_section()
        table.add_row("all", str(sum(shard.good for shard in self.shards)), str(self.wrong or "none"), "")
        return table


def verify_shards(folder: Path) -> Report:
    """Check every shard of a folder, that it holds what its index says, and that no sample is there twice.

    Keys may come back in shards of another prefix, such as ``val-`` beside ``train-``.

    Raises:
        ValueError: the folder is missing or holds no shard, or ``index.json`` is no index.
    """
    if not folder.is_dir():
        raise ValueError(f"shard folder {folder} is missing; build it with `lpm data puppets` or give another folder")
    index = read_index(folder)
    paths = sorted(folder.glob("*.tar"))
    if not paths:
        raise ValueError(f"shard folder {folder} holds no *.tar; build it with `lpm data puppets` or give another one")
    reports, places = [], dict[tuple[str, str], str]()
    with track(len(paths), "check", "shards") as advance:
        for path in paths:
            reports.append(verify_shard(path, index.get(path.name), places))
            advance(1)
    for name in sorted(set(index) - {path.name for path in paths}):
        reports.append(ShardReport(name, faults=Counter(["lost shard"]), first="in the index, not in the folder"))
    return Report(reports)


def verify_shard(path: Path, row: Shard | None, places: dict[tuple[str, str], str]) -> ShardReport:
    """Check the samples of a shard, and the shard against its row of the index, if it has one.

    ``places`` holds the shard of every key seen so far, by prefix and key; those of this one are added.
    """
    report, prefix = ShardReport(path.name), path.stem.rpartition("-")[0]
    try:
        for sample in read_shard(path):
            verify_sample(sample, report)
            key = sample["__key__"]
            if (prefix, key) in places:
                report.fault("repeated key", f"sample {key} is in {places[prefix, key]}, too; delete one of them")
            places[prefix, key] = path.name
    except ValueError as error:
        report.fault("unreadable", str(error))
    else:
        if report.good + report.bad == 0:
            report.fault("empty", f"{path.name} holds no samples; rebuild it, or delete the file")
    if row is not None:
        with path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != row.sha256:
                report.fault("sha256", f"{path.name} is not the file that the index lists; copy or rebuild it")
        if report.good + report.bad != row.samples:
            report.fault("sample count", f"the index lists {row.samples} samples")
    return report


def verify_sample(sample: Sample, report: ShardReport) -> None:
    """Check the schema of a sample, and that its pictures and sound decode to what its `json` says."""
    try:
        validate(sample)
        check_media(sample)
        report.good += 1
    except ValueError as error:
        report.bad += 1
        report.fault(error.reason if isinstance(error, SchemaError) else "media", str(error))
