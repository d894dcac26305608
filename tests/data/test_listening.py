"""Rare and lively listeners are drawn more often, within limits."""

import numpy as np
import pytest

from lpm.data import ListenerEmphasis, Traits, class_weights, listener_traits
from lpm.data.listening import swings

NAMES = np.array(["yaw", "pitch", "roll", "smile", "brow", "frown", "sneer", "smirk"])
WAVE = np.sin(np.linspace(0, 6 * np.pi, 48))


def clip(emotion="neutral", state="listening", **tracks):
    """Two seconds with the given tracks; the others stay at 0."""
    controls = np.zeros((48, len(NAMES)), np.float32)
    for name, track in tracks.items():
        controls[:, NAMES.tolist().index(name)] = track
    meta = {"fps": 24.0, "frames": 48, "states": [[0, 48, state]], "tags": {"emotion": emotion}}
    return {"__key__": "clip", "json": meta, "truth.npz": {"controls": controls, "names": NAMES}}


@pytest.mark.parametrize(
    ("tracks", "expression", "motion", "contrast", "oscillation"),
    [
        ({}, "plain", "still", False, False),
        ({"smile": np.linspace(0, 0.4, 48)}, "smile", "still", False, False),
        ({"smile": np.linspace(-0.4, 0.4, 48)}, "smile", "still", True, False),
        ({"brow": 0.2 * WAVE, "smile": 0.05 * WAVE}, "brow", "still", False, True),
        ({"pitch": 3 * WAVE}, "plain", "high", False, False),
        ({"pitch": np.linspace(0, 10, 48)}, "plain", "low", False, False),
    ],
)
def test_traits_are_read_from_tracks(tracks, expression, motion, contrast, oscillation):
    found = listener_traits(clip("sad", **tracks))
    assert found == Traits("sad", expression, motion, contrast, oscillation)


def test_only_listening_frames_count():
    moving = clip(brow=np.where(np.arange(48) < 24, WAVE, 0))
    moving["json"]["states"] = [[0, 24, "speaking"], [24, 48, "listening"]]
    assert listener_traits(moving).expression == "plain"


def test_a_clip_without_truth_has_unknown_traits():
    bare = clip()
    del bare["truth.npz"]
    assert listener_traits(bare) == Traits("neutral", "unknown", "unknown", False, False)


def test_swings_alternate():
    assert swings(WAVE, 0.5) == 7  # up, then six times from peak to trough
    assert swings(0.1 * WAVE, 0.5) == 0
    assert swings(np.linspace(0, 1, 9), 0.3) == 1


def test_power_evens_classes_out():
    labels = ["neutral"] * 8 + ["happy"] * 2
    share = [class_weights(labels, power)[8:].sum() / 10 for power in (0.0, 0.5, 1.0)]
    assert share == pytest.approx([0.2, 1 / 3, 0.5])


def test_rare_and_lively_listeners_weigh_more_and_others_one():
    neutral = [clip() for _ in range(8)]
    lively = clip("happy", smile=0.4 * WAVE, pitch=3 * WAVE)
    speaker = clip("happy", "speaking", smile=WAVE)
    weights = ListenerEmphasis().weights([*neutral, lively, speaker])
    assert weights[9] == 1
    assert weights[8] > 3 * weights[0]
    assert weights.min() >= 0.25 and weights.max() <= 4
    assert ListenerEmphasis(power=0.0, lively=1.0).weights([*neutral, lively]) == pytest.approx(1)


def test_limits_hold():
    clips = [clip() for _ in range(50)] + [clip("angry", brow=WAVE, pitch=9 * WAVE)]
    assert ListenerEmphasis(power=1.0, least=0.5, most=3.0).weights(clips)[-1] == 3.0


@pytest.mark.parametrize("wrong", [{"power": 1.5}, {"least": 0.0}, {"most": 0.5}, {"lively": 0.0}])
def test_mistakes_are_refused(wrong):
    with pytest.raises(ValueError, match=r"power|limits|lively"):
        ListenerEmphasis(**wrong)
