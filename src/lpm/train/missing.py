"""Shards that a model makes of shards of clips, each with a row that says it is whole, by one process or by many."""

from collections.abc import Callable, Sequence
from pathlib import Path

from filelock import FileLock, Timeout

from lpm.data import Shard
from lpm.data.puppets.progress import track


def share(shards: Sequence[Shard], limit: int | None) -> list[tuple[Shard, int]]:
    """Return which shards are read, and how many samples of each, up to a limit; all if None."""
    left, jobs = sum(shard.samples for shard in shards) if limit is None else limit, []
    for shard in shards:
        if left > 0:
            jobs.append((shard, min(left, shard.samples)))
            left -= shard.samples
    return jobs


def row_path(folder: Path, shard: Shard) -> Path:
    """Return where the row of a shard lies."""
    return folder / f"{Path(shard.path).stem}.row.json"


def make_missing(
    folder: Path, jobs: Sequence[tuple[Shard, int]], make: Callable[[Shard, int], None], title: str, unit: str
) -> None:
    """Make every shard that has no row, with a progress bar, and return when all are there.

    Processes on one folder share the work: a shard is made by the one that holds its lock. The system releases the lock
    of one that dies, and another makes the shard again.

    Args:
        folder: where shards and rows are.
        jobs: shards and how many samples of each, as ``share`` returns them.
        make: makes the shard and, last, its row.
        title: of the progress bar.
        unit: what samples are called there.
    """
    left = [job for job in jobs if not row_path(folder, job[0]).exists()]
    if not left:
        return
    with track(sum(count for _, count in left), title, unit) as advance:
        for patience in (0, -1):  # first what nobody makes, then what the others have not finished
            for job in tuple(left):
                if made(folder, *job, make, patience):
                    left.remove(job)
                    advance(job[1])


def made(folder: Path, shard: Shard, count: int, make: Callable[[Shard, int], None], patience: float) -> bool:
    """Make a shard if it is missing, and return whether it is there; False if another process makes it for longer than
    ``patience`` seconds, without end if negative.
    """
    row, lock = row_path(folder, shard), folder / f".{Path(shard.path).stem}.lock"
    try:
        with FileLock(lock, timeout=patience):
            if not row.exists():
                make(shard, count)
            lock.unlink(missing_ok=True)  # who waits for it finds the row
    except Timeout:
        return False
    return True
