"""Scenes: who speaks, who reacts, and what the prompt promised."""

from itertools import pairwise
from statistics import NormalDist

import numpy as np
import pytest

from lpm.data.puppets import prompt
from lpm.data.puppets.behaviour import CUES, EMOTIONS, MANNERS, REACTIONS, RULE
from lpm.data.puppets.controls import COLUMN, CONTROLS
from lpm.data.puppets.conversation import Speaker, converse, cues, monologue, phrase_ends
from lpm.data.puppets.language import Voice, say
from lpm.data.puppets.perform import KINDS, perform

APERTURE = COLUMN["aperture"]
VOICES = [Voice(f"en-us+{variant}", "en", 170, 50, 50, 0.7) for variant in ("f3", "m1")]
SPEAKERS = tuple(Speaker(voice, "neutral", 0.0, "calm", "train") for voice in VOICES)
FAST = 100.0  # frames a second, to see a lid close


@pytest.fixture(scope="module")
def scenes():
    return [perform(seed, 8.0) for seed in range(16)]


@pytest.fixture(scope="module")
def talks():
    """A quarter of an hour of conversation."""
    return converse(np.random.default_rng(0), 900.0, SPEAKERS)


@pytest.fixture(scope="module")
def waiting():
    """Eight people who wait for two minutes each."""
    return [person for seed in range(4) for person in perform(seed, 120.0, FAST, "idle", actions=0).people]


def turns_of(talks):
    """Return what is said in each turn, in order; the scene may cut the last turn, so it is left out."""
    found = []
    for person in (0, 1):
        own = [talk for talk in talks if talk.person == person and talk.kind != "backchannel"]
        ends = [0, *(index + 1 for index, talk in enumerate(own) if talk.ends_turn)]
        found += [own[first:last] for first, last in pairwise(ends)]
    return sorted(found, key=lambda turn: turn[0].start)[:-1]


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


def test_turns_alternate_with_gaps_and_overlaps(talks):
    pairs = list(pairwise(turns_of(talks)))
    assert all(one[0].person != two[0].person for one, two in pairs)
    gaps = np.array([two[0].start - one[-1].stop for one, two in pairs if not one[-1].interrupted])
    rule = NormalDist(RULE.gap_mean, RULE.gap_deviation)
    assert np.median(gaps) == pytest.approx(rule.mean, abs=0.06)
    assert (gaps < 0).mean() == pytest.approx(rule.cdf(0), abs=0.08)


def test_sentences_of_a_turn_are_parted_by_pauses(talks):
    pauses = [two.start - one.stop for turn in turns_of(talks) for one, two in pairwise(turn)]
    assert np.median(pauses) == pytest.approx(RULE.pause_median, abs=0.05)
    assert np.std(np.log(pauses)) == pytest.approx(RULE.pause_spread, abs=0.06)


def test_turns_are_interrupted_as_often_as_the_rule_says(talks):
    turns = turns_of(talks)
    stopped = [turn[-1].interrupted for turn in turns]
    assert np.mean(stopped) == pytest.approx(RULE.interruption, abs=0.06)
    for one, two in pairwise(turns):
        if one[-1].interrupted:
            low, high = RULE.stop_delay
            assert low - 1e-6 <= one[-1].stop - two[0].start <= high + 1e-6


def test_listeners_murmur_softly_after_phrases_of_the_partner():
    talks = monologue(np.random.default_rng(0), 400.0, SPEAKERS, person=0)
    murmurs = [talk for talk in talks if talk.kind == "backchannel"]
    told = [talk for talk in talks if talk.person == 0 and talk.kind != "question"]
    ends = np.array([end for talk in told for end in phrase_ends(talk)])
    assert all(talk.person == 1 for talk in murmurs)
    assert len(murmurs) / len(ends) == pytest.approx(RULE.backchannel, abs=0.08)
    lags = [talk.start - ends[ends < talk.start].max() for talk in murmurs]
    assert np.median(lags) == pytest.approx(RULE.lag_median, abs=0.1)
    gains = [np.ptp(talk.utterance.samples) / np.ptp(say(talk.utterance.text, VOICES[1]).samples) for talk in murmurs]
    assert np.median(gains) == pytest.approx(RULE.backchannel_gain, abs=0.05)


def test_nobody_murmurs_beside_an_own_turn(talks):
    murmurs = [talk for talk in talks if talk.kind == "backchannel"]
    assert len(murmurs) > 10
    for murmur in murmurs:
        own = (talk for talk in talks if talk.person == murmur.person and talk is not murmur)
        assert all(talk.stop < murmur.start or murmur.stop < talk.start for talk in own)


def test_questions_and_peaks_of_energy_are_cues(talks):
    for person in (0, 1):
        said = [talk for talk in talks if talk.person == person and talk.kind != "backchannel"]
        offered = {kind: [cue.t for cue in cues(talks, person) if cue.kind == kind] for kind in CUES}
        asked = [talk.stop for talk in said if talk.kind == "question" and not talk.interrupted]
        assert len(asked) > 20 and offered["question"] == pytest.approx(asked)
        assert len(offered["energy_peak"]) > 50
        for peak in offered["energy_peak"]:
            talk = next(talk for talk in said if talk.start <= peak <= talk.stop)
            middle, samples = round((peak - talk.start) * 16_000), talk.utterance.samples
            assert samples[max(0, middle - 800) : middle + 800].std() > 1.2 * samples.std()


def test_reactions_are_seen_and_recorded(scenes):
    answers = [e for scene in scenes for p in scene.people for e in p.events if "cue" in e]
    assert len(answers) > 30 and {e["type"] for e in answers} <= set(REACTIONS)
    assert all(RULE.lag_limits[0] <= e["lag"] <= RULE.lag_limits[1] for e in answers)
    assert all(e["lag"] == pytest.approx(e["t"] - e["cue_t"]) for e in answers)


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


def test_blinks_close_fast_and_open_slowly_at_the_published_rate(waiting):
    blinks, pauses = 0, []
    for person in waiting:
        lid = person.controls[:, COLUMN["blink_l"]]
        assert np.array_equal(lid, person.controls[:, COLUMN["blink_r"]])
        spans = np.flatnonzero(np.diff(np.concatenate([[0], lid > 0, [0]]))).reshape(-1, 2)
        blinks += len(spans)
        pauses += (np.diff(spans[:, 0]) / FAST).tolist()
        for first, last in spans:
            if first > 0 and last < len(lid):
                speed = np.diff(lid[first - 1 : last + 1])
                assert lid[first:last].max() == 1 and speed.max() > -1.5 * speed.min()
    expected = 1 / (1 / RULE.blink_rate + RULE.blink_refractory)
    assert blinks / (120.0 * len(waiting)) == pytest.approx(expected, rel=0.15)
    assert min(pauses) > RULE.blink_refractory - 2 / FAST


def test_people_who_wait_breathe_and_look_around(waiting):
    for person in waiting:
        breath, gaze, yaw = (person.controls[:, COLUMN[name]] for name in ("breath", "gaze_x", "yaw"))
        frequencies = np.fft.rfftfreq(len(breath), 1 / FAST)
        loudest = frequencies[np.argmax(np.abs(np.fft.rfft(breath - breath.mean())))]
        assert loudest == pytest.approx(RULE.breath_rate, abs=0.03) and np.ptp(breath) > 0.9
        moving = np.abs(np.diff(gaze)) > 1e-6
        assert 0.01 < moving.mean() < 0.1, "eyes rest, and jump from time to time"
        assert gaze.std() > 0.03 and yaw.std() > 1


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
