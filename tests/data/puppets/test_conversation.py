"""Scenes: who speaks, who reacts, and what the prompt promised."""

import time

import numpy as np
import pytest

from lpm.data.puppets import prompt
from lpm.data.puppets.behaviour import EMOTIONS, MANNERS, REACTIONS, RULE, Manner
from lpm.data.puppets.controls import COLUMN, CONTROLS, neutral
from lpm.data.puppets.conversation import Cue
from lpm.data.puppets.listener import Reaction, act, react
from lpm.data.puppets.perform import KINDS, perform

APERTURE = COLUMN["aperture"]


@pytest.fixture(scope="module")
def scenes():
    return [perform(seed, 8.0) for seed in range(16)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fps", [24.0, 25.0, 29.97])
def test_shapes_and_ranges(kind, fps):
    scene = perform(5, 2.5, fps, kind)
    for person in scene.people:
        assert person.controls.shape == (round(2.5 * fps), len(CONTROLS)) and person.controls.dtype == np.float32
        assert person.voice.shape == (40_000,) and person.voice.dtype == np.float32
        assert person.states.shape == (round(2.5 * fps),) and set(person.states) <= {0, 1, 2}
        assert np.isfinite(person.controls).all() and np.abs(person.voice).max() <= 1
        units = np.delete(person.controls, [COLUMN[n] for n in ("yaw", "pitch", "roll")], axis=1)
        assert np.abs(units).max() <= 1


def test_only_speakers_move_their_lips(scenes):
    moved = 0
    for scene in [*scenes, perform(3, 6.0, kind="listen"), perform(3, 6.0, kind="idle")]:
        for person in scene.people:
            assert (person.controls[person.states != 0, APERTURE] == 0).all()
            moved += (person.controls[person.states == 0, APERTURE] > 0.1).sum()
    assert moved > 200


def test_sound_comes_from_speakers(scenes):
    for scene in scenes:
        for person in scene.people:
            frames = np.round(np.arange(len(person.states)) * 16_000 / 24).astype(int)
            energy = np.maximum.reduceat(np.abs(person.voice), frames)
            assert energy[person.states != 0].max(initial=0) < 0.02
            assert energy[person.states == 0].max(initial=1) > 0.05


def test_monologues_have_one_speaker():
    speaker, listener = perform(11, 5.0, kind="speak").people
    assert (speaker.states == 0).mean() > 0.8 and (listener.states == 1).mean() > 0.6
    assert not any(person.voice.any() for person in perform(11, 5.0, kind="idle").people)


def test_reactions_follow_the_published_rule():
    rng = np.random.default_rng(0)
    cues = [Cue(3.0 * index, "phrase_end") for index in range(2_500)]
    reactions = react(rng, cues, [], 8_000.0, Manner())
    lags = np.array([r.lag for r in reactions if r.kind == "nod"])
    assert len(lags) / len(cues) == pytest.approx(RULE.reaction["phrase_end"]["nod"], abs=0.04)
    assert np.median(lags) == pytest.approx(RULE.lag_median, abs=0.025)
    assert np.std(np.log(lags)) == pytest.approx(RULE.lag_spread, abs=0.03)
    counts = np.bincount([r.count for r in reactions if r.kind == "nod"], minlength=4)[1:]
    assert counts / counts.sum() == pytest.approx(RULE.nod_counts, abs=0.04)
    assert not react(rng, cues, [(0.0, 8_000.0)], 8_000.0, Manner()), "nobody reacts while holding the floor"


def test_reactions_are_seen_and_recorded(scenes):
    answers = [e for scene in scenes for p in scene.people for e in p.events if "cue" in e]
    assert len(answers) > 30 and {e["type"] for e in answers} <= set(REACTIONS)
    assert all(RULE.lag_limits[0] <= e["lag"] <= RULE.lag_limits[1] for e in answers)
    assert all(e["lag"] == pytest.approx(e["t"] - e["cue_t"]) for e in answers)


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


def test_interrupted_speakers_stop_in_time(scenes):
    stops = 0
    for scene in [*scenes, *(perform(seed, 8.0) for seed in range(100, 116))]:
        starts = [e["t"] for e in scene.people[0].events if e["type"] == "turn_start"]
        for person in scene.people:
            for event in (e for e in person.events if e["type"] == "interruption" and e["who"] == "self"):
                stops += 1
                low, high = RULE.stop_delay
                assert any(low - 1e-6 <= event["t"] - start <= high + 1e-6 for start in starts)
                after = person.voice[round(event["t"] * 16_000) : round((event["t"] + 0.1) * 16_000)]
                assert not after.any()
    assert stops >= 1


def test_actions_pass_their_own_checks():
    names = set()
    for seed in range(60):
        actor = perform(seed, 6.0, kind="idle", actions=2).people[0]
        assert len(actor.actions) == 2 and actor.actions[0]["t1"] < actor.actions[1]["t0"]
        for entry in actor.actions:
            names.add(entry["action"])
            check, tolerance = entry["check"], entry["check"]["tol_s"]
            assert f"At {entry['t0']:.1f} s the character {entry['text']}." in actor.caption
            signal = actor.controls[:, COLUMN[check["signal"]]]
            span = signal[round((entry["t0"] - tolerance) * 24) : round((entry["t1"] + tolerance) * 24)]
            inner = signal[round(entry["t0"] * 24) : round(entry["t1"] * 24)]
            if check["kind"] == "oscillation":
                assert np.ptp(span) >= check["min_ptp"], entry
                turns = np.diff(np.sign(inner - (inner.max() + inner.min()) / 2))
                assert np.count_nonzero(turns) / 2 >= check["min_cycles"], entry
            else:
                reached = inner >= check["min"] if "min" in check else inner <= check["max"]
                assert reached.mean() >= check["min_frac"], entry
    assert names == set(prompt.ACTIONS)


def test_captions_of_listeners_say_nothing_that_changes():
    for seed in range(8):
        scene = perform(seed, 3.0, kind="listen", actions=3)
        listener = scene.people[0]
        assert not listener.actions and " At " not in listener.caption
        assert listener.manner in MANNERS and listener.manner in listener.caption
        assert listener.emotion in (*EMOTIONS, "neutral") and listener.emotion in listener.caption


def test_motion_scales_the_head_not_the_mouth():
    still, free = (perform(21, 6.0, kind="sing", motion=motion, actions=0).people[0].controls for motion in (0.25, 1.0))
    yaw = COLUMN["yaw"]
    assert still[:, yaw].std() < 0.5 * free[:, yaw].std()
    assert np.array_equal(still[:, APERTURE], free[:, APERTURE])


def test_a_voice_seed_keeps_the_voice():
    names = {perform(seed, 1.5, language="en", voice_seeds=(7, 8)).people[0].voice_name for seed in range(4)}
    assert len(names) == 1


def test_scenes_are_cheap():
    start = time.process_time()
    for seed in range(5):
        perform(seed, 6.0)
    assert (time.process_time() - start) / 5 < 0.3  # about 0.05 s when the machine is idle


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"seconds": 0.2}, "too short; ask for 1 s or more"),
        ({"seconds": 2.0, "kind": "dance"}, "kind 'dance' is unknown; choose one of conversation"),
        ({"seconds": 2.0, "fps": 0.0}, "outside 1 to 120"),
        ({"seconds": 2.0, "motion": 5.0}, "motion of 5.0 is outside 0 to 2"),
    ],
)
def test_bad_requests_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        perform(0, **arguments)
