import pytest

from lpm.stream import Playout, WallClock


class Clock:
    def __init__(self):
        self.time = 0

    def now(self):
        return self.time

    def wait_until(self, moment):
        self.time = max(self.time, moment)


def shown(arrivals, fps=10.0):
    """When frames are shown that are at hand at the given milliseconds."""
    clock = Clock()
    playout, times = Playout(fps, clock), []
    for arrival in arrivals:
        clock.time = max(clock.time, arrival * 1_000_000)
        playout.wait()
        times.append(clock.time / 1e6)
    return times


def test_frames_that_are_there_come_at_their_pace():
    assert shown([500, 500, 500, 500]) == [500, 600, 700, 800]


def test_small_delays_are_caught_up():
    assert shown([500, 680, 680, 680]) == [500, 680, 700, 800]


def test_after_a_stall_frames_go_on_at_their_pace():
    assert shown([500, 600, 1_500, 1_500, 1_500]) == [500, 600, 1_500, 1_600, 1_700]


def test_pace_does_not_drift():
    clock = Clock()
    playout = Playout(24.0, clock)
    clock.time = 1_000_000_000
    for _ in range(24 * 3600):
        playout.wait()
        clock.time += 1_000_000  # a little late, every time
    assert (clock.time - 1_001_000_000) / 1e9 == pytest.approx(3600 - 1 / 24, abs=1e-4)


def test_the_wall_clock_waits():
    clock = WallClock()
    moment = clock.now() + 20_000_000
    clock.wait_until(moment)
    assert clock.now() >= moment
    clock.wait_until(moment)
