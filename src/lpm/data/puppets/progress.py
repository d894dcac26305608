"""Progress of a long build: a bar with frames a second and time left, or plain lines where there is no terminal."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

EVERY = 15.0  # seconds between plain lines


class SpeedColumn(ProgressColumn):
    """Units a second since the start."""

    def __init__(self, unit: str) -> None:
        super().__init__()
        self.unit = unit

    def render(self, task: Task) -> Text:
        """Return the mean speed so far."""
        return Text(f"{task.completed / max(task.elapsed or 0.0, 1e-3):.0f} {self.unit}/s")


@contextmanager
def track(total: int, title: str = "puppets", unit: str = "frames") -> Iterator[Callable[[int], None]]:
    """Yield a thread-safe function that reports finished units until `total`."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield plain_lines(console, total, title, unit)
        return
    name, speed = TextColumn("{task.description}"), SpeedColumn(unit)
    with Progress(name, BarColumn(), MofNCompleteColumn(), speed, TimeRemainingColumn(), console=console) as progress:
        task = progress.add_task(title, total=total)
        yield lambda count: progress.advance(task, count)


def plain_lines(console: Console, total: int, title: str, unit: str) -> Callable[[int], None]:
    """Return a reporter that prints a line every `EVERY` seconds and one at the end."""
    start = last = time.monotonic()
    done, lock = 0, Lock()

    def advance(count: int) -> None:
        nonlocal done, last
        with lock:
            done += count
            now = time.monotonic()
            if now - last < EVERY and done < total:
                return
            last = now
            speed = done / max(now - start, 1e-3)
            left = (total - done) / max(speed, 1e-3)
            console.print(f"{title}: {done}/{total} {unit}, {speed:.0f} {unit}/s, {left:.0f} s left", highlight=False)

    return advance
