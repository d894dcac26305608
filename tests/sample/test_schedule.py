import pytest
import torch

from lpm.flow import Absolute, PredictClean
from lpm.sample import ClipSampler, GuidanceInterval
from lpm.types import Conditions


class Rows:
    """A denoiser that answers 1 for rows that hear the voice and 0 for others, and counts the rows of each call."""

    def __init__(self):
        self.rows = []

    def forward(self, noisy, t, conditions, fps):
        self.rows.append((len(noisy), t.max().item()))
        heard = conditions.keep.get("speak", torch.ones(len(noisy), dtype=torch.bool))
        return heard.to(noisy)[:, None, None, None, None].expand_as(noisy)


def sample(schedule, steps=4):
    backbone = Rows()
    sampler = ClipSampler(PredictClean(), Absolute(), steps, 1.0, {"speak": 3.0}, schedule=schedule)
    clip = sampler.sample(backbone, torch.zeros(1, 1, 1, 1, 1), 2, Conditions(), 24.0)
    return clip[0, 1].item(), backbone.rows


def test_guidance_costs_nothing_outside_its_interval():
    _, rows = sample(GuidanceInterval(0.25, 0.75))
    assert rows == [(1, 1.0), (2, 0.75), (2, 0.5), (1, 0.25)]


def test_the_last_step_decides_a_denoiser_that_ignores_its_input():
    """Guided, it answers 0 + 3 (1 - 0) = 3, else 1."""
    assert sample(None)[0] == pytest.approx(3.0)
    assert sample(GuidanceInterval(0.25, 1.0))[0] == pytest.approx(1.0)
    assert sample(lambda t: t)[0] == pytest.approx(1.5)  # at t = .25 a scale of 3 is one of 1.5


def test_a_schedule_that_meets_no_step_is_refused():
    """At shift 15 two steps begin at 1 and .9375."""
    with pytest.raises(ValueError, match=r"guides at none of the noise levels 1, 0\.938; widen it or take more"):
        ClipSampler(PredictClean(), Absolute(), 2, 15.0, {"speak": 3.0}, schedule=GuidanceInterval(0.2, 0.9))
    ClipSampler(PredictClean(), Absolute(), 2, 15.0, {"speak": 3.0}, schedule=GuidanceInterval(0.8, 1.0))


@pytest.mark.parametrize(("low", "high"), [(0.5, 0.5), (-0.1, 1.0), (0.0, 1.1)])
def test_an_impossible_interval_is_refused(low, high):
    with pytest.raises(ValueError, match="choose 0 <= low < high <= 1"):
        GuidanceInterval(low, high)
