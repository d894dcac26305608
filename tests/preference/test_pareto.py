import math

import numpy as np
import pytest

from lpm.preference import advantage, select

NAMES = ("a", "b", "c")
TOLERANCES = {"a": 0.1, "b": 0.5, "c": 2.0}
TRIALS = 400


def draw(rng, count, unknown=0.15):
    """Candidates on a coarse grid, so that ties are common, with some scores missing."""
    grid = rng.integers(-3, 4, (count, len(NAMES))) * np.array([0.08, 0.4, 1.5])
    grid[rng.random(grid.shape) < unknown] = np.nan
    return [dict(zip(NAMES, map(float, row), strict=True)) for row in grid]


def dominates(first, second):
    """The definition, written out."""
    better = False
    for name in NAMES:
        x, y = first[name], second[name]
        if math.isnan(x) and math.isnan(y):
            continue
        if math.isnan(x) or math.isnan(y) or (x - y) / TOLERANCES[name] < -1:
            return False
        better = better or (x - y) / TOLERANCES[name] > 1
    return better


def test_preference_is_the_definition_and_never_mutual():
    rng = np.random.default_rng(0)
    found = 0
    for _ in range(TRIALS):
        first, second = draw(rng, 2)
        margin = advantage(first, second, TOLERANCES)
        assert (margin > 0) == dominates(first, second)
        assert margin == 0 or (margin > 1 and advantage(second, first, TOLERANCES) == 0)
        assert advantage(first, first, TOLERANCES) == 0
        found += margin > 0
    assert found > 20


def test_the_chosen_pair_qualifies_and_no_other_has_a_larger_margin():
    rng = np.random.default_rng(1)
    seen = set()
    for trial in range(TRIALS):
        scores = draw(rng, int(rng.integers(2, 6)), unknown=0.6 if trial % 4 == 0 else 0.1)
        chosen = select(scores, TOLERANCES)
        seen.add(chosen.reason)
        pairs = [(a, b) for a in range(len(scores)) for b in range(len(scores)) if dominates(scores[a], scores[b])]
        assert (chosen.reason == "pair") == bool(pairs)
        if not pairs:
            assert (chosen.winner, chosen.loser, chosen.margin) == (None, None, 0.0)
            continue
        assert (chosen.winner, chosen.loser) in pairs
        assert chosen.margin == max(advantage(scores[a], scores[b], TOLERANCES) for a, b in pairs)
    assert seen >= {"pair", "trade_off"}


def test_units_and_shifts_do_not_matter():
    rng = np.random.default_rng(2)
    for _ in range(TRIALS // 4):
        scores, scale, shift = draw(rng, 4), rng.uniform(0.1, 10, 3), rng.normal(size=3)
        other = [{name: row[name] * scale[i] + shift[i] for i, name in enumerate(NAMES)} for row in scores]
        wider = {name: TOLERANCES[name] * scale[i] for i, name in enumerate(NAMES)}
        first, second = select(scores, TOLERANCES), select(other, wider)
        assert (first.winner, first.loser, first.reason) == (second.winner, second.loser, second.reason)


def test_a_candidate_that_is_dominated_by_all_never_wins():
    rng = np.random.default_rng(3)
    for _ in range(TRIALS // 4):
        scores = draw(rng, 4, unknown=0.0)
        worst = {name: min(row[name] for row in scores) - 2.5 * TOLERANCES[name] for name in NAMES}
        chosen = select([*scores, worst], TOLERANCES)
        assert chosen.loser == 4


@pytest.mark.parametrize(
    ("scores", "reason"),
    [
        ([{"a": 0.0, "b": 0.0}, {"a": 0.1, "b": -0.5}], "tie"),
        ([{"a": 0.0, "b": 0.0}, {"a": 0.2, "b": -0.6}], "trade_off"),
        ([{"a": 1.0, "b": 1.0}, {"a": 0.0, "b": math.nan}], "trade_off"),
        ([{"a": math.nan}, {"a": math.nan}], "unscored"),
        ([{"a": 1.0}, {"a": math.nan}], "unscored"),
        ([{}, {}], "unscored"),
        ([{"a": 1.0}], "unscored"),
        ([{"a": 1.0, "b": math.nan}, {"a": 0.0, "b": math.nan}], "pair"),
        ([{"a": math.inf, "b": 0.0}, {"a": 0.0, "b": 0.0}], "trade_off"),
    ],
)
def test_reasons(scores, reason):
    assert select(scores, TOLERANCES).reason == reason


def test_equal_margins_take_the_first():
    rows = [{"a": 1.0}, {"a": 0.0}, {"a": 1.0}, {"a": 0.0}]
    assert select(rows, TOLERANCES)[:2] == (0, 1)


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="same dimensions"):
        select([{"a": 1.0}, {"b": 1.0}], TOLERANCES)
    with pytest.raises(ValueError, match="tolerance of 'z' is None"):
        select([{"z": 1.0}, {"z": 1.0}], TOLERANCES)
    with pytest.raises(ValueError, match="tolerance of 'a' is 0"):
        select([{"a": 1.0}, {"a": 1.0}], {"a": 0})
