"""Where a voice comes from: a sound file, or samples that come in through a pipe."""

import os
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from threading import Condition, Thread
from typing import Protocol

import numpy as np

from lpm.data import from_int16, iterate_audio
from lpm.types import SAMPLE_RATE

LIMIT = 10 * SAMPLE_RATE
STANDARD_INPUT = "-"
READ = 4096  # bytes; an eighth of a second


class Source(Protocol):
    """A voice, 16 kHz mono in [-1, 1]."""

    def open(self) -> None:
        """Let in who writes it, if somebody does; nothing is read yet."""
        ...

    def begin(self) -> None:
        """Let samples come in: the stream's clock begins."""
        ...

    def take(self, count: int) -> np.ndarray:
        """Return the next samples, at most ``count``; fewer if no more are there."""
        ...

    def waiting(self) -> int:
        """Return how many samples have come in and were not taken."""
        ...

    def ended(self) -> bool:
        """Tell whether ``take`` will never give another sample."""
        ...

    def clear(self) -> None:
        """Forget what has come in and was not taken."""
        ...

    def close(self) -> None:
        """End it: nobody takes another sample."""
        ...


class FileSource:
    """The sound of a file, decoded as it is taken.

    Raises:
        ValueError: no such file, or no sound in it.
    """

    def __init__(self, path: Path) -> None:
        self.pieces: Iterator[np.ndarray] = iterate_audio(path)
        self.left = next(self.pieces, np.zeros(0, np.float32))
        if not len(self.left):
            self._more()
        if not len(self.left):
            raise ValueError(f"{path} is empty: it holds no audio sample; record or export it again")

    def open(self) -> None:
        """Do nothing: the file is there."""

    def begin(self) -> None:
        """Do nothing: it is decoded as it is taken."""

    def take(self, count: int) -> np.ndarray:
        """Return the next ``count`` samples; fewer at the end of the file."""
        while len(self.left) < count and self._more():
            pass
        taken, self.left = self.left[:count], self.left[count:]
        return taken

    def waiting(self) -> int:
        """Return how many samples are decoded and were not taken."""
        return len(self.left)

    def ended(self) -> bool:
        """Tell whether the file is at its end."""
        return not len(self.left) and not self._more()

    def clear(self) -> None:
        """Forget the rest of the file."""
        self.pieces, self.left = iter(()), self.left[:0]

    def close(self) -> None:
        """Close the file."""
        self.clear()

    def _more(self) -> bool:
        piece = next(self.pieces, None)
        if piece is not None:
            self.left = np.concatenate([self.left, piece])
        return piece is not None


class PipeSource:
    """Raw samples, 16-bit little-endian 16 kHz mono, from a pipe that somebody writes; its end is the voice's end.

    A thread reads what comes, from ``begin`` or the first ``take`` on. Until then whoever writes is held up after an
    eighth of a second, where the system can (Linux), and later while ``limit`` samples wait.

    Args:
        open_pipe: returns a file descriptor to read from, which is closed at the end; called in the thread, because
            opening a named pipe waits for the writer.
        wait: ``take`` waits for all samples it is asked for, or the end; else it returns what is there.
        limit: samples that may wait.
    """

    def __init__(self, open_pipe: Callable[[], int], wait: bool, limit: int = LIMIT) -> None:
        self.open_pipe, self.wait, self.limit = open_pipe, wait, limit
        self.samples, self.opened, self.begun, self.closed = np.zeros(0, np.float32), False, False, False
        self.changed = Condition()

    def open(self) -> None:
        """Open the pipe, in a thread; its writer goes on when it has opened it, too."""
        with self.changed:
            if not self.opened:
                self.opened = True
                Thread(target=self._read, daemon=True).start()

    def begin(self) -> None:
        """Read what comes, from now on."""
        self.open()
        with self.changed:
            self.begun = True
            self.changed.notify_all()

    def take(self, count: int) -> np.ndarray:
        """Return the next samples, see ``wait``."""
        self.begin()
        with self.changed:
            if self.wait:
                self.limit = max(self.limit, count)
                self.changed.wait_for(lambda: self.closed or len(self.samples) >= count)
            taken, self.samples = self.samples[:count], self.samples[count:]
            self.changed.notify_all()
        return taken

    def waiting(self) -> int:
        """Return how many samples have been read and were not taken."""
        return len(self.samples)

    def ended(self) -> bool:
        """Tell whether the pipe is closed and empty."""
        with self.changed:
            return self.closed and not len(self.samples)

    def clear(self) -> None:
        """Forget the samples that wait."""
        with self.changed:
            self.samples = self.samples[:0]
            self.changed.notify_all()

    def close(self) -> None:
        """Let nothing more come in: the pipe is closed, and whoever still writes finds it broken."""
        with self.changed:
            self.opened = self.closed = True
            self.changed.notify_all()
        self.clear()

    def _read(self) -> None:
        pipe = None
        try:
            pipe, odd = self.open_pipe(), b""
            hold_little(pipe)
            while self._wanted() and (data := os.read(pipe, READ)):
                data = odd + data
                whole = len(data) // 2 * 2
                odd = data[whole:]
                self._append(from_int16(np.frombuffer(data[:whole], "<i2")))
        finally:
            with self.changed:
                self.closed = True
                self.changed.notify_all()
            if pipe is not None:
                os.close(pipe)

    def _wanted(self) -> bool:
        """Wait until samples may come in; False if nobody will take them."""
        with self.changed:
            self.changed.wait_for(lambda: self.closed or (self.begun and len(self.samples) < self.limit))
            return not self.closed

    def _append(self, samples: np.ndarray) -> None:
        with self.changed:
            if not self.closed:
                self.samples = np.concatenate([self.samples, samples])
            self.changed.notify_all()


def hold_little(pipe: int) -> None:
    """Let a pipe hold no more than we read at once, where the system can; what waits in it is old when we begin."""
    with suppress(ImportError, AttributeError, OSError):  # another system; no pipe, or it holds more already
        import fcntl

        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, READ)


def open_source(path: Path, wait: bool) -> Source:
    """Return the voice at a path: ``-`` is raw samples on standard input, a named pipe raw samples, else a sound file.

    Pipes are opened by ``Source.open``, or ``begin``.

    Raises:
        ValueError: there is no such file, or no sound in it.
    """
    if str(path) == STANDARD_INPUT:
        return PipeSource(lambda: os.dup(sys.stdin.fileno()), wait)
    if is_pipe(path):
        return PipeSource(lambda: os.open(path, os.O_RDONLY), wait)
    return FileSource(path)


def is_pipe(path: Path) -> bool:
    """Tell whether a path is a named pipe."""
    return path.exists() and stat.S_ISFIFO(path.stat().st_mode)
