"""Metrics of several processes, and of signals on any device, are those of one process on the CPU."""

import pytest

from elsewhere import elsewhere
from metric_work import metrics, see, see_in_the_first, values
from processes import run_processes


@pytest.fixture(scope="module")
def alone():
    found = metrics()
    see(found, range(3))
    return values(found)


def test_a_process_without_a_clip_is_joined(alone, tmp_path):
    assert run_processes(see_in_the_first, 2, tmp_path, 3) == [alone, alone]


@pytest.mark.parametrize("moved", [False, True], ids=["metric on the CPU", "metric moved"])
def test_signals_may_be_on_any_device(alone, moved):
    with elsewhere() as device:
        found = metrics()
        if moved:
            found = {name: metric.to(device) for name, metric in found.items()}
        see(found, range(3), lambda x: x.to(device))
        assert values(found) == alone
