"""Reactions to the partner: as often and as late as the published rule says, and seen in the motion."""

import numpy as np
import pytest

from lpm.data.puppets.behaviour import CUES, REACTIONS, RULE, Manner
from lpm.data.puppets.controls import COLUMN, neutral
from lpm.data.puppets.conversation import Cue
from lpm.data.puppets.listener import Reaction, act, react
from lpm.data.puppets.perform import perform

# What each reaction moves, when it is all there (seconds after its onset), and whether mild motion makes it smaller.
SHOWN = {
    "nod": ("pitch", RULE.nod_period / 2, True),
    "smile": ("smile", 0.6, False),
    "brow_raise": ("brow", 0.3, False),
    "gaze_shift": ("gaze_x", 0.3, False),
    "tilt": ("roll", 0.6, True),
}


def test_every_cue_calls_for_a_reaction_and_every_reaction_is_called_for():
    assert set(RULE.reaction) == set(CUES)
    assert {kind for kinds in RULE.reaction.values() for kind in kinds} == set(REACTIONS) == set(SHOWN)


@pytest.mark.parametrize(("cue", "kind"), [(cue, kind) for cue, kinds in RULE.reaction.items() for kind in kinds])
def test_reactions_follow_the_published_rule(cue, kind):
    offered = [Cue(3.0 * index, cue) for index in range(4_000)]
    reactions = react(np.random.default_rng(0), offered, [], 12_500.0, Manner())
    lags = np.array([r.lag for r in reactions if r.kind == kind])
    assert {r.kind for r in reactions} == set(RULE.reaction[cue])
    assert len(lags) / len(offered) == pytest.approx(RULE.reaction[cue][kind], abs=0.03)
    assert np.median(lags) == pytest.approx(RULE.lag_median, abs=0.025)
    assert np.std(np.log(lags)) == pytest.approx(RULE.lag_spread, abs=0.03)


def test_nods_are_counted_by_the_rule_and_nobody_reacts_while_holding_the_floor():
    rng = np.random.default_rng(0)
    offered = [Cue(3.0 * index, "phrase_end") for index in range(2_500)]
    nods = [r.count for r in react(rng, offered, [], 8_000.0, Manner()) if r.kind == "nod"]
    counts = np.bincount(nods, minlength=4)[1:]
    assert counts / counts.sum() == pytest.approx(RULE.nod_counts, abs=0.04)
    assert not react(rng, offered, [(0.0, 8_000.0)], 8_000.0, Manner())


def test_reactions_are_in_the_motion_of_the_listener():
    """On average over what chance adds, a signal moves by the size of its reaction."""
    listeners = [perform(seed, 30.0, kind="listen").people[0] for seed in range(8)]
    for kind, (signal, delay, _) in SHOWN.items():
        rises, sizes = [], []
        for person in listeners:
            column = person.controls[:, COLUMN[signal]]
            for event in (e for e in person.events if e["type"] == kind and e["t"] + delay < 29):
                rises.append(column[round((event["t"] + delay) * 24)] - column[round(event["t"] * 24)])
                sizes.append(event["size"])
        assert len(sizes) > 8
        assert np.dot(rises, sizes) / np.dot(sizes, sizes) == pytest.approx(1, abs=0.3), kind


@pytest.mark.parametrize("kind", REACTIONS)
def test_a_reaction_begins_at_its_onset_reaches_its_size_and_ends(kind):
    times = np.arange(0, 4, 1 / 200)
    signal, delay, of_the_head = SHOWN[kind]
    controls = neutral(len(times))
    act(controls, times, [Reaction(1.4, kind, Cue(1.0, "phrase_end"), size=0.5)], motion=0.25)
    column = controls[:, COLUMN[signal]]
    assert not controls[(times <= 1.4) | (times > 3.0)].any()
    assert column.max() == pytest.approx(column[round((1.4 + delay) * 200)], abs=0.005)
    assert column.max() == pytest.approx(0.35 if of_the_head else 0.5, abs=0.005)


def test_a_nod_begins_at_its_onset_even_in_mild_motion():
    times = np.arange(0, 4, 1 / 200)
    controls = neutral(len(times))
    reaction = Reaction(1.4, "nod", Cue(1.0, "phrase_end"), size=10.0, count=2)
    act(controls, times, [reaction], motion=0.25)
    pitch = controls[:, COLUMN["pitch"]]
    assert not pitch[times <= 1.4].any()
    assert times[np.argmax(pitch)] == pytest.approx(1.4 + RULE.nod_period / 2, abs=0.01)
    assert pitch.max() == pytest.approx(7.0, abs=0.1)
    assert pitch[times > 1.4 + RULE.nod_period].max() == pytest.approx(7.0 * RULE.nod_decay, abs=0.1)
