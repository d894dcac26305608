"""How live a stream is, from its event log alone: when the first frame comes, how long chunks take, what stalls, what
grows.

Events are mappings with ``event``, ``t`` in nanoseconds of one clock, and facts; ``lpm.stream.EventLog`` tells which.
Definitions: LPM-Bench, real-time metrics. What a program leaves out of its log, such as the microphone or the network,
no metric here can see.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lpm.metric.statistics import theil_sen

Event = Mapping[str, Any]
POINTS = 200  # of a slope; a long log is averaged down to so many
MB, HOUR = 2**20, 3600.0


class Growth(NamedTuple):
    """A robust slope with its 95 % interval, per hour."""

    value: float
    low: float
    high: float


class Playout(NamedTuple):
    """What a viewer sees who begins to play ``buffer`` seconds after the first frame has come.

    Attributes:
        late: share of frames that come after they are due.
        stall: seconds a minute for which the picture stands still, because playing waits for a late frame.
    """

    late: float
    stall: float


def read_events(path: Path | str) -> list[dict[str, Any]]:
    """Read a log, one JSON object a line; ValueError names a line that is none."""
    events = []
    for number, line in enumerate(Path(path).read_text().splitlines(), 1):
        try:
            event = json.loads(line)
            events.append({**event, "event": event["event"], "t": int(event["t"])})
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise ValueError(f"{path}, line {number} is no event: {line[:80]!r}; give a log of lpm stream") from error
    return events


def only(events: Sequence[Event], kind: str) -> list[Event]:
    """Return the events of one kind, in order."""
    return [event for event in events if event["event"] == kind]


def times_of(events: Sequence[Event]) -> Tensor:
    """Return when events happened, in seconds, float64."""
    return torch.tensor([event["t"] for event in events], dtype=torch.int64).double() / 1e9


def first_frame_time(events: Sequence[Event]) -> float:
    """Return the seconds from the first input (the opening, where nothing is heard) to the first frame."""
    begin = only(events, "audio_in") or only(events, "open")
    return (only(events, "frame_out")[0]["t"] - begin[0]["t"]) / 1e9


def chunk_latency(events: Sequence[Event]) -> Tensor:
    """Return for each chunk the seconds from the last input that came for it to its last frame being made, (N,).

    A chunk that nothing came for, as in silence, counts from its start.
    """
    inputs, starts = only(events, "audio_in"), {event["k"]: event for event in only(events, "chunk_start")}
    latency, heard = [], 0
    for done in only(events, "chunk_done"):
        start = begin = starts[done["k"]]
        while heard < len(inputs) and depends(start, inputs[heard]):
            begin, heard = inputs[heard], heard + 1
        latency.append(done["t"] - begin["t"])
    return torch.tensor(latency, dtype=torch.float64) / 1e9


def depends(start: Event, heard: Event) -> bool:
    """Tell whether a chunk that has started depends on a piece of input: it had come, and begins before its end."""
    return bool(heard["pts"] < start["audio_to"] and heard["t"] <= start["t"])


def real_time_factors(events: Sequence[Event]) -> Tensor:
    """Return for each chunk the seconds of computing a second of video, (N,); below 1 is live."""
    fps, starts = only(events, "open")[0]["fps"], {event["k"]: event for event in only(events, "chunk_start")}
    done = [event for event in only(events, "chunk_done") if event["n_frames"] > 0]
    busy = [event.get("busy_ns", event["t"] - starts[event["k"]]["t"]) for event in done]
    media = [event["n_frames"] / fps for event in done]
    return torch.tensor(busy, dtype=torch.float64) / 1e9 / torch.tensor(media, dtype=torch.float64)


def jitter(times_T: Tensor, pts_T: Tensor, fps: float) -> tuple[float, float]:
    """Return how unevenly frames come, in seconds: the 99th minus the 50th percentile of their distances, and the
    running mean of RFC 3550, ``J += (|D| - J) / 16``.

    Args:
        times_T: when each frame came.
        pts_T: its number.
    """
    gaps = times_T.diff()
    if not len(gaps):
        return float("nan"), float("nan")
    running = 0.0
    for deviation in (gaps - pts_T.diff().double() / fps).abs().tolist():
        running += (deviation - running) / 16
    return float(gaps.quantile(0.99) - gaps.quantile(0.5)), running


def play_out(times_T: Tensor, fps: float, buffer: float = 0.0) -> Playout:
    """Return what a viewer sees who waits ``buffer`` seconds after the first frame.

    >>> play_out(torch.tensor([0.0, 0.5, 2.5, 2.75]), fps=2.0)  # the third frame comes 1.5 s late
    Playout(late=0.5, stall=45.0)
    """
    due = times_T[0] + buffer + torch.arange(len(times_T), dtype=torch.float64) / fps
    late = times_T > due + 1e-9
    slips = (times_T - due).clamp_min(0).cummax(dim=0).values  # how far playing has fallen behind by each frame
    return Playout(float(late.double().mean()), float(slips[-1]) * 60 / (len(times_T) / fps))


def smallest_buffer(times_T: Tensor, fps: float) -> float:
    """Return the seconds to wait after the first frame so that no later one is late."""
    due = times_T[0] + torch.arange(len(times_T), dtype=torch.float64) / fps
    return float((times_T - due).max().clamp_min(0))


def growth(values_N: Tensor, times_N: Tensor, warm_up: float = 60.0, block: float = 10.0, seed: int = 0) -> Growth:
    """Return the slope of values over time per hour, by Theil and Sen, with a block bootstrap of its residuals.

    Args:
        times_N: in seconds.
        warm_up: seconds at the beginning that are left out.
        block: seconds of neighbouring points that are drawn together.
    """
    later = times_N >= times_N[:1] + warm_up
    values, times = average_down(values_N[later].double()), average_down(times_N[later].double())
    if len(values) < 4:
        return Growth(float("nan"), float("nan"), float("nan"))
    slope = theil_sen(values, times)
    residuals = values - slope * times
    length = max(1, min(len(values) // 2, int((block / times.diff().mean()).ceil())))
    generator = torch.Generator().manual_seed(seed)
    slopes = []
    for _ in range(200):
        firsts = torch.randint(len(values) - length + 1, (-(-len(values) // length),), generator=generator)
        picked = (firsts[:, None] + torch.arange(length)).flatten()[: len(values)]
        slopes.append(theil_sen(residuals[picked] + slope * times, times))
    low, high = torch.stack(slopes).quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return Growth(*(float(x) * HOUR for x in (slope, low, high)))


def average_down(values_N: Tensor) -> Tensor:
    """Return at most ``POINTS`` means of neighbours."""
    size = -(-len(values_N) // POINTS)
    return values_N if size <= 1 else torch.stack([piece.mean() for piece in values_N.split(size)])


def quantile_interval(values_N: Tensor, quantile: float, level: float = 0.95) -> tuple[float, float]:
    """Return the interval of a quantile between two values of the sample, without a model of their spread.

    A bound is infinite where the sample is too small to give it: for the 99th percentile below 368 values.
    """
    count = len(values_N)
    ranks = torch.arange(count + 1, dtype=torch.float64)
    below = torch.distributions.Binomial(count, torch.tensor(quantile, dtype=torch.float64))
    cumulative = below.log_prob(ranks).exp().cumsum(0)  # at r: the chance that at most r values lie below the quantile
    tail, ordered = (1 - level) / 2, values_N.sort().values.tolist()
    lower = int((cumulative <= tail).sum())  # values that may be left out below
    upper = int((cumulative < 1 - tail).sum()) + 1
    return ordered[lower - 1] if lower >= 1 else float("-inf"), ordered[upper - 1] if upper <= count else float("inf")


def summarise(events: Sequence[Event], warm_up: float = 60.0) -> dict[str, Any]:
    """Return all metrics of a log as plain numbers, seconds unless said otherwise; None is not known.

    Slopes are per hour of video, which a stream that nothing paces makes in less time; so is ``warm_up``, in seconds.

    Raises:
        ValueError: the log holds no opening, no chunk or no frame.
    """
    for kind in ("open", "chunk_start", "chunk_done", "frame_out"):
        if not only(events, kind):
            raise ValueError(f"the log has no {kind}; give the log of a whole stream")
    fps, frames = only(events, "open")[0]["fps"], only(events, "frame_out")
    latency, factors, times = chunk_latency(events), real_time_factors(events), times_of(frames)
    spread, running = jitter(times, torch.tensor([frame["pts"] for frame in frames]), fps)
    memory = only(events, "mem")
    rss = torch.tensor([event["rss"] for event in memory], dtype=torch.float64) / MB
    done_N, weighed_N = (
        torch.searchsorted(times, times_of(those)).double() / fps for those in (only(events, "chunk_done"), memory)
    )
    return {
        "first_frame": first_frame_time(events),
        "start_to_first_frame": float(times[0] - times_of(only(events, "open"))[0]),
        "chunks": len(latency),
        "frames": len(frames),
        "latency_p50": float(latency.quantile(0.5)),
        "latency_p95": float(latency.quantile(0.95)),
        "latency_p99": float(latency.quantile(0.99)),
        "latency_p99_interval": [known(bound) for bound in quantile_interval(latency, 0.99)],
        "real_time_factor": float(factors.mean()),
        "real_time_factor_p99": float(factors.quantile(0.99)),
        "jitter": known(spread),
        "jitter_rfc3550": known(running),
        "late_share": play_out(times, fps).late,
        "stall_seconds_per_minute": play_out(times, fps).stall,
        "smallest_buffer": smallest_buffer(times, fps),
        "memory_mb_per_hour": slope(growth(rss, weighed_N, warm_up)) if memory else None,
        "latency_seconds_per_hour": slope(growth(latency, done_N, warm_up)),
    }


def known(value: float) -> float | None:
    """Return a number that JSON can hold, None for one that is not known."""
    return value if math.isfinite(value) else None


def slope(found: Growth) -> dict[str, float | None]:
    """Return a growth as plain numbers."""
    return {name: known(value) for name, value in found._asdict().items()}
