"""The event log of a stream: one JSON object a line, one monotonic clock, for ``lpm.metric.realtime``."""

import json
import resource
import sys
from collections.abc import Mapping
from pathlib import Path
from threading import Lock
from typing import Any, Protocol, TextIO

import torch

from lpm.stream.clock import Clock


class Log(Protocol):
    """Notes what happens, and when."""

    def add(self, event: str, facts: Mapping[str, Any] | None = None) -> None:
        """Note an event that happens now."""
        ...


class NoLog:
    """Notes nothing."""

    def add(self, event: str, facts: Mapping[str, Any] | None = None) -> None:
        """Do nothing."""


class EventLog:
    """Writes events as they happen; several threads may.

    A line holds ``event``, ``t`` in nanoseconds of the clock, and the event's facts (LPM-Bench, real-time metrics):

    * ``open`` fps, sample_rate: a stream begins, nothing is encoded yet; ``close``
    * ``audio_in`` stream, seq, pts (its first sample, counted from video frame 0), n (samples)
    * ``audio_late`` stream, pts (of the next sample), n (samples that came after their time and were dropped before it)
    * ``ctrl`` type, chunk (the first that it steers)
    * ``chunk_start`` k, audio_to (samples that the chunk depends on)
    * ``chunk_done`` k, n_frames, pts0 (its first frame), busy_ns (computing, all told)
    * ``frame_out`` pts; ``audio_out`` pts, n
    * ``mem`` rss and gpu, in bytes
    """

    def __init__(self, file: TextIO, clock: Clock) -> None:
        self.file, self.clock, self.lock = file, clock, Lock()

    def add(self, event: str, facts: Mapping[str, Any] | None = None) -> None:
        """Write one line."""
        line = json.dumps({"event": event, "t": self.clock.now(), **(facts or {})})
        with self.lock:
            self.file.write(line + "\n")


def memory() -> dict[str, int]:
    """Return the memory of this process and what PyTorch holds on the first GPU, in bytes."""
    gpu = torch.cuda.memory_allocated() if torch.cuda.is_available() else 0
    return {"rss": resident_bytes(), "gpu": gpu}


def resident_bytes() -> int:
    """Return the resident memory of this process; its peak where the system does not tell."""
    statm = Path("/proc/self/statm")
    if statm.exists():
        return int(statm.read_text().split()[1]) * resource.getpagesize()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
