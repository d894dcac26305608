"""Shares by activity are kept, move with the batch's number, and give every clip its due."""

from collections import Counter

import numpy as np
import pytest

from lpm.data import ACTIVITIES, Mixture, Shares, activity

SPOKEN = {"json": {"fps": 24.0, "states": [[0, 40, "speaking"]]}}
HEARD = {"json": {"fps": 24.0, "states": [[0, 40, "listening"]]}}
SAMPLES = [SPOKEN] * 10 + [HEARD] * 3


class Rising:
    """Weights 1, 2, 3, ... by place."""

    def weights(self, samples):
        return 1.0 + np.arange(len(samples))


def states(*spans):
    edges = np.cumsum([0, *(round(seconds * 24) for _, seconds in spans)]).tolist()
    rows = [[a, b, label] for a, b, (label, _) in zip(edges, edges[1:], spans)]
    return {"json": {"fps": 24.0, "states": rows}}


@pytest.mark.parametrize(
    ("spans", "expected"),
    [
        ([("speaking", 3.0)], "speaking"),
        ([("listening", 0.6), ("speaking", 2.0), ("listening", 0.5)], "speaking"),  # pauses are no listening
        ([("listening", 2.0), ("speaking", 0.5), ("listening", 2.0)], "listening"),  # a murmur is no turn
        ([("speaking", 1.0), ("listening", 1.0)], "conversation"),
        ([("idle", 3.0)], "idle"),
        ([("idle", 2.0), ("listening", 0.4)], "idle"),
    ],
)
def test_activity_is_told_by_turns(spans, expected):
    assert activity(states(*spans)) == expected


def drawn(draws, steps, batch=13):
    """Rows of evenly spread places, as an epoch has them."""
    return [[draws.row(step, (place + 0.4) / batch) for place in range(batch)] for step in steps]


def test_every_clip_is_drawn_once_without_weights_and_at_its_own_share():
    rows = drawn(Mixture([Shares(0, speaking=10, listening=3)]).over(SAMPLES), [0])[0]
    assert sorted(rows) == list(range(13))


def test_shares_are_kept_to_within_one_draw():
    draws = Mixture([Shares(0, speaking=0.5, listening=0.5)]).over(SAMPLES)
    counts = Counter(drawn(draws, [0], batch=100)[0])
    assert sum(counts[row] for row in range(10)) == pytest.approx(50, abs=1)
    assert all(counts[row] in (4, 5, 6) for row in range(10))
    assert all(counts[row] in (16, 17) for row in range(10, 13))


def test_shares_move_with_the_batch():
    mixture = Mixture([Shares(10, speaking=1.0), Shares(20, speaking=0.5, listening=0.5)])
    draws = mixture.over(SAMPLES)
    heard = [np.mean([row >= 10 for row in rows]) for rows in drawn(draws, [0, 10, 15, 20, 99], batch=100)]
    assert heard == pytest.approx([0, 0, 0.25, 0.5, 0.5], abs=0.01)


def test_weights_count_inside_an_activity_only():
    draws = Mixture([Shares(0, speaking=0.5, listening=0.5)], Rising()).over(SAMPLES)
    chances = draws.chances(0)
    assert chances.sum() == pytest.approx(1)
    assert chances[:10].sum() == pytest.approx(0.5)
    assert chances[9] / chances[0] == pytest.approx(10)
    counts = Counter(drawn(draws, [0], batch=2000)[0])
    assert [counts[row] for row in range(13)] == pytest.approx((2000 * chances).tolist(), abs=1.01)


@pytest.mark.parametrize("place", [0.0, 0.5, 1 - 1e-16, 1.0])
def test_every_place_has_a_row_of_an_activity_with_a_share(place):
    draws = Mixture([Shares(0, listening=1.0)]).over(SAMPLES)
    assert 10 <= draws.row(0, place) < 13


def test_mistakes_are_refused():
    for schedule, words in [
        ([], "schedule has steps"),
        ([Shares(5, idle=1.0), Shares(5, idle=1.0)], "schedule has steps"),
        ([Shares(0)], "above 0"),
        ([Shares(0, speaking=-0.1, idle=1.0)], "0 or more"),
    ]:
        with pytest.raises(ValueError, match=words):
            Mixture(schedule)
    with pytest.raises(ValueError, match="no clip of 13 shows conversation"):
        Mixture([Shares(0, speaking=1.0), Shares(9, conversation=1.0)]).over(SAMPLES)


def test_mixture_is_told_apart_by_its_settings():
    shares = [Shares(0, speaking=1.0)]
    assert repr(Mixture(shares)) == repr(Mixture(list(shares)))
    assert repr(Mixture(shares)) != repr(Mixture([Shares(0, idle=1.0)]))
    assert set(ACTIVITIES) == {"speaking", "listening", "idle", "conversation"}
