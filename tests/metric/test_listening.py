import numpy as np
import pytest
import torch

from lpm.metric import ContingencyZ, FalseLipMotion, contingency, cue_train, false_lip_motion, reaction
from lpm.metric.listening import chance_tracks

FPS = 24.0
FRAMES = 240


def false_lip_motion_by_hand(aperture, listening, threshold, min_frames=3):
    bad, run = 0, 0
    for value, hears in [*zip(aperture, listening, strict=True), (0.0, False)]:
        if hears and value > threshold:
            run += 1
        else:
            bad, run = bad + (run if run >= min_frames else 0), 0
    return bad / listening.sum()


def test_false_lip_motion_equals_a_loop():
    rng = np.random.default_rng(0)
    for _ in range(20):
        aperture, listening = rng.uniform(size=60), rng.uniform(size=60) < 0.9
        ours = false_lip_motion(aperture, listening, threshold=0.4)
        assert ours == pytest.approx(false_lip_motion_by_hand(aperture, listening, 0.4))


def test_false_lip_motion_forgives_what_the_truth_does():
    listening = np.ones(100, dtype=bool)
    smile = np.full(100, 0.3)
    assert false_lip_motion(smile, listening) == 1
    assert false_lip_motion(smile, listening, truth_T=smile) == 0
    assert false_lip_motion(smile, ~listening).isnan()


def test_false_lip_metric_pools_frames():
    metric = FalseLipMotion()
    metric.update(np.ones(30), np.arange(30) < 30)
    metric.update(np.zeros(90), np.arange(90) < 90)
    metric.update(np.ones(90), np.arange(90) < 0)
    result = metric.compute()
    assert (float(result.value), int(result.n), int(result.skipped)) == (0.25, 2, 1)


def test_contingency_equals_numpy():
    rng = np.random.default_rng(1)
    cues, response = rng.uniform(size=(3, FRAMES)), rng.uniform(size=FRAMES)
    listening = rng.uniform(size=FRAMES) < 0.7
    ours = contingency(cues, response, listening, FPS, max_lag=0.5)
    for row, value in zip(cues, ours, strict=True):
        best = 0.0
        for lag in range(13):
            later = np.flatnonzero(listening[lag:]) + lag
            best = max(best, np.corrcoef(row[later - lag], response[later])[0, 1])
        assert value == pytest.approx(best)


def conversation(seed: int, lag: float = 0.5):
    """Cues at random times, and a listener who nods ``lag`` seconds after each."""
    rng = np.random.default_rng(seed)
    times = np.cumsum(rng.uniform(0.9, 2.2, 6))
    times = times[times < 9]
    pitch = sum(4 * np.exp(-(((np.arange(FRAMES) / FPS - t - lag) / 0.15) ** 2)) for t in times)
    pitch = pitch + 0.1 * rng.normal(size=FRAMES)
    still = np.zeros(FRAMES)
    return cue_train(times, FRAMES, FPS), reaction(still, pitch, still, still, FPS)


def score(pairs, **options):
    metric = ContingencyZ(FPS, **options)
    for index, (cues, response) in enumerate(pairs):
        metric.update(cues, response, np.ones(FRAMES, dtype=bool), identity=index)
    return metric.compute()


def test_contingency_z_sees_reactions_and_not_their_shuffle():
    clips = [conversation(seed) for seed in range(12)]
    real = score(clips)
    shuffled = score([(cues, clips[i - 5][1]) for i, (cues, _) in enumerate(clips)])
    frozen = score([(cues, np.zeros(FRAMES)) for cues, _ in clips])
    assert real.value > 6 and real.low > 3
    assert abs(shuffled.value) < 3
    assert frozen.value == pytest.approx(0)


def test_a_rhythm_that_all_conversations_share_is_no_reaction():
    rng, still = np.random.default_rng(0), np.zeros(FRAMES)
    clips = []
    for _ in range(24):
        times = np.array([1.0, 4.0, 7.0]) + rng.uniform(-0.3, 0.3, 3)
        nods = np.array([1.5, 4.5, 7.5]) + rng.uniform(-0.3, 0.3, 3)  # at the usual moments, whatever was heard
        pitch = sum(4 * np.exp(-(((np.arange(FRAMES) / FPS - t) / 0.15) ** 2)) for t in nods)
        clips.append((cue_train(times, FRAMES, FPS), reaction(still, pitch, still, still, FPS)))
    assert abs(score(clips).value) < 2
    assert score(clips[:8]).low > 0  # half of chance is shifted, with so few other clips


def test_the_interval_lies_around_its_value():
    for first in (0, 12, 24):
        found = score([conversation(seed) for seed in range(first, first + 12)])
        low, high = float(found.value - found.low), float(found.high - found.value)
        assert low > 0 and high > 0 and max(low, high) < 2 * min(low, high)


def test_contingency_z_is_seeded_and_works_on_short_clips():
    clips = [(cues[:96], response[:96]) for cues, response in (conversation(seed) for seed in range(6))]
    metrics = [ContingencyZ(FPS, seed=3), ContingencyZ(FPS, seed=3)]
    for metric in metrics:
        for cues, response in clips:
            metric.update(cues, response, np.ones(96, dtype=bool))
    assert metrics[0].compute() == metrics[1].compute()
    assert metrics[0].compute().value > 2


def test_clips_without_listening_or_cues_are_skipped():
    metric = ContingencyZ(FPS)
    for seed in range(3):
        cues, response = conversation(seed)
        metric.update(cues, response, np.full(FRAMES, seed > 0))
    metric.update(np.zeros(FRAMES), response, np.ones(FRAMES, dtype=bool))
    result = metric.compute()
    assert (int(result.n), int(result.skipped)) == (2, 2)


def test_reaction_units():
    ramp, still = np.arange(24) * 10 / FPS, np.zeros(24)
    assert reaction(still, ramp, still, still, FPS)[1:] == pytest.approx(torch.ones(23))
    assert reaction(still, still, still, ramp / 10, FPS)[1:] == pytest.approx(torch.ones(23))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ContingencyZ(FPS, permutations=20), "200"),
        (lambda: contingency(np.zeros(9), np.zeros(9), np.ones(9, dtype=bool), FPS), r"\(P, 9\)"),
        (lambda: false_lip_motion(np.zeros(9), np.ones(8, dtype=bool)), "listening"),
        (lambda: score([(conversation(0)[0], np.zeros(3))]), "3 frames"),
    ],
)
def test_bad_inputs_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_single_clip_has_no_chance_and_so_no_score():
    metric = ContingencyZ(FPS)
    cues, response = conversation(0)
    metric.update(cues, response, np.ones(FRAMES, dtype=bool))
    result = metric.compute()
    assert result.value.isnan() and (int(result.n), int(result.skipped)) == (0, 1)
    with pytest.raises(ValueError, match="add clips"):
        chance_tracks([cues[:96]], 0, FPS, 200, torch.Generator())
