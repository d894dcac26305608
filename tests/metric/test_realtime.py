"""Logs written by hand, with answers worked out by hand."""

import json

import pytest
import torch

from lpm.metric import (
    chunk_latency,
    first_frame_time,
    growth,
    jitter,
    play_out,
    quantile_interval,
    read_events,
    real_time_factors,
    smallest_buffer,
    summarise,
)

MS = 1_000_000


def event(kind, ms, **facts):
    return {"event": kind, "t": round(ms * MS), **facts}


def log(delays=(0, 0, 0), fps=2.0):
    """Three chunks of two frames; chunk k hears 16,000 (k + 1) samples, which come at k + 1 s, and takes 200 ms."""
    events = [event("open", 0, fps=fps, sample_rate=16_000)]
    for k, delay in enumerate(delays):
        heard = 1000 * (k + 1)
        events.append(event("audio_in", heard, stream="speak", seq=k, pts=16_000 * k, n=16_000))
        events.append(event("chunk_start", heard + 50, k=k, audio_to=16_000 * (k + 1)))
        done = heard + 250 + delay
        events.append(event("chunk_done", done, k=k, n_frames=2, pts0=2 * k, busy_ns=(200 + delay) * MS))
        events.append(event("mem", done, rss=2**20 * (100 + k), gpu=0))
        events += [event("frame_out", done + 500 * i, pts=2 * k + i) for i in range(2)]
    return events


def test_the_first_frame_is_counted_from_the_first_input():
    assert first_frame_time(log()) == pytest.approx(0.25)
    assert first_frame_time([e for e in log() if e["event"] != "audio_in"]) == pytest.approx(1.25)


def test_a_chunk_is_counted_from_the_last_input_it_depends_on():
    assert chunk_latency(log((0, 100, 0))).tolist() == pytest.approx([0.25, 0.35, 0.25])


def test_input_that_comes_early_or_belongs_to_later_chunks_does_not_count():
    events = log()
    extra = event(
        "audio_in", 2040, stream="listen", seq=1, pts=40_000, n=10
    )  # comes before chunk 1 starts, not its own
    place = next(i for i, e in enumerate(events) if e["event"] == "chunk_start" and e["k"] == 1)
    events.insert(place, extra)
    assert chunk_latency(events).tolist() == pytest.approx([0.25, 0.25, 0.25])


def test_a_chunk_without_input_is_counted_from_its_start():
    assert chunk_latency([e for e in log() if e["event"] != "audio_in"]).tolist() == pytest.approx([0.2] * 3)


def test_a_chunk_in_silence_is_counted_from_its_start():
    """Not from the last word, however long ago it was said."""
    events = [e for e in log((0, 0, 100, 0)) if e["event"] != "audio_in" or e["seq"] in (0, 3)]
    assert chunk_latency(events).tolist() == pytest.approx([0.25, 0.2, 0.3, 0.25])


def test_the_real_time_factor_is_computing_over_media():
    assert real_time_factors(log((0, 100, 1000))).tolist() == pytest.approx([0.2, 0.3, 1.2])
    plain = [{k: v for k, v in e.items() if k != "busy_ns"} for e in log((0, 100, 1000))]
    assert real_time_factors(plain).tolist() == pytest.approx([0.2, 0.3, 1.2])


def test_even_frames_have_no_jitter_and_one_late_frame_has_its_share():
    even = torch.arange(101, dtype=torch.float64) / 25
    numbers = torch.arange(101)
    assert jitter(even, numbers, 25.0) == pytest.approx((0.0, 0.0), abs=1e-12)
    late = even.clone()
    late[-1] += 0.16
    spread, running = jitter(late, numbers, 25.0)
    assert running == pytest.approx(0.16 / 16)
    assert spread == pytest.approx(0.01 * 0.16)  # the 99th percentile of 100 gaps lies .01 of the way to the last


def test_left_out_frames_are_no_jitter():
    times, numbers = torch.tensor([0.0, 0.04, 0.12], dtype=torch.float64), torch.tensor([0, 1, 3])
    assert jitter(times, numbers, 25.0)[1] == pytest.approx(0.0, abs=1e-12)


def test_stalls_by_hand():
    times = torch.tensor([10.0, 10.5, 12.5, 12.75, 13.0, 14.5], dtype=torch.float64)  # due at 10, 10.5, ... 12.5
    assert play_out(times, 2.0) == pytest.approx((4 / 6, 2.0 * 60 / 3))
    assert smallest_buffer(times, 2.0) == pytest.approx(2.0)
    assert play_out(times, 2.0, buffer=2.0) == (0.0, 0.0)
    assert play_out(times, 2.0, buffer=1.99).late == pytest.approx(1 / 6)


@pytest.mark.parametrize("slope", [0.0, 5.0, -3.0])
def test_growth_finds_a_slope_under_noise_and_leaves_the_warm_up_out(slope):
    times = torch.arange(0, 1200, 1.0, dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    values = slope * times / 3600 + 0.01 * torch.randn(len(times), generator=generator, dtype=torch.float64)
    values[:60] += 50 * (1 - times[:60] / 60)
    found = growth(values, times)
    assert found.value == pytest.approx(slope, abs=0.05)
    assert found.low <= slope <= found.high
    assert found.high - found.low < 0.2


def test_slopes_are_per_hour_of_video():
    events = log(delays=[0] * 200, fps=4.0)  # half a second of video a second, and a megabyte more each time
    assert summarise(events)["memory_mb_per_hour"]["value"] == pytest.approx(2 * 3600)


def test_growth_of_a_short_log_is_unknown():
    assert growth(torch.ones(5), torch.arange(5.0)).value != growth(torch.ones(5), torch.arange(5.0)).value


def test_an_interval_of_a_quantile_covers_it():
    generator = torch.Generator().manual_seed(0)
    covered = 0
    for _ in range(200):
        low, high = quantile_interval(torch.rand(400, generator=generator), 0.9)
        covered += low <= 0.9 <= high
    assert 180 <= covered <= 200
    low, high = quantile_interval(torch.rand(1000, generator=generator), 0.9)
    assert high - low < 0.06


@pytest.mark.parametrize("count, known", [(367, False), (368, True)])
def test_a_small_sample_has_no_upper_bound_of_its_99th_percentile(count, known):
    assert (quantile_interval(torch.rand(count), 0.99)[1] < 2) is known


def test_the_summary_of_a_log_and_of_a_file_agree(tmp_path):
    events = log((0, 100, 0))
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(e) + "\n" for e in events))
    found = summarise(events)
    assert json.dumps(found, allow_nan=False) == json.dumps(summarise(read_events(tmp_path / "log.jsonl")))
    assert (found["chunks"], found["frames"]) == (3, 6)
    assert (found["first_frame"], found["start_to_first_frame"]) == pytest.approx((0.25, 1.25))
    assert found["latency_p50"] == pytest.approx(0.25)
    assert found["latency_p99"] == pytest.approx(0.348)
    assert found["smallest_buffer"] == pytest.approx(0.1)


@pytest.mark.parametrize("line", ["nothing", "{}", '{"event": "open"}', "[1]"])
def test_a_line_that_is_no_event_is_named(tmp_path, line):
    (tmp_path / "log.jsonl").write_text('{"event": "open", "t": 1, "fps": 24}\n' + line)
    with pytest.raises(ValueError, match="line 2 is no event"):
        read_events(tmp_path / "log.jsonl")


def test_a_log_without_frames_is_refused():
    with pytest.raises(ValueError, match="no frame_out"):
        summarise([e for e in log() if e["event"] != "frame_out"])
