import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from lpm.preference import Candidate, PuppetScorer, Scorer, head_energy, puppet_scores, score

FRAMES = 96


def wave(size, period=24.0):
    return (size * np.sin(np.arange(FRAMES) * 2 * np.pi / period)).astype(np.float32)


def reading(head=4.0, mouth=0.0, valid=None):
    still = np.zeros(FRAMES, np.float32)
    return SimpleNamespace(
        yaw=wave(head), pitch=still, roll=still, smile=still,
        aperture=np.full(FRAMES, mouth, np.float32) + np.abs(wave(0.3)) * (np.arange(FRAMES) >= 48),
        identity=np.zeros((FRAMES, 3), np.float32), background=np.zeros((FRAMES, 3), np.float32),
        valid=np.ones(FRAMES, bool) if valid is None else valid,
    )  # fmt: skip


@pytest.fixture
def candidate():
    """Listens for two seconds, then speaks for two."""
    state = torch.zeros(FRAMES, dtype=torch.long)
    state[:48] = 1
    truth = {name: torch.zeros(FRAMES) for name in ("pitch", "roll")}
    truth |= {"yaw": torch.from_numpy(wave(4.0)), "aperture": torch.from_numpy(np.abs(wave(0.3)))}
    video = np.random.default_rng(0).integers(0, 255, (FRAMES, 16, 16, 3)).astype(np.uint8)
    return Candidate(video, 24.0, state, torch.zeros(1), torch.zeros(1), truth=truth)


def test_as_lively_as_the_truth_is_best(candidate):
    lively = {size: puppet_scores(candidate, reading(size))["liveliness"] for size in (0.0, 2.0, 4.0, 8.0)}
    assert lively[4.0] == pytest.approx(0.0, abs=1e-6)
    assert lively[0.0] < lively[2.0] < lively[4.0] > lively[8.0]


def test_without_truth_more_motion_is_livelier(candidate):
    candidate.truth = {}
    scores = [puppet_scores(candidate, reading(size)) for size in (1.0, 2.0, 4.0)]
    assert scores[0]["liveliness"] < scores[1]["liveliness"] < scores[2]["liveliness"]
    assert "sync" not in scores[0]


def test_an_open_mouth_counts_while_listening_alone(candidate):
    scores = puppet_scores(candidate, reading(mouth=0.2))
    assert scores["closed_mouth"] == pytest.approx(-0.2)
    assert scores["sync"] == pytest.approx(1.0)


def test_what_the_conditions_do_not_hold_is_not_scored(candidate):
    candidate.state_T[:] = 0
    assert puppet_scores(candidate, reading()).keys() == {"sync", "colour", "sharpness"}
    candidate.state_T[:] = 1
    assert puppet_scores(candidate, reading()).keys() == {"liveliness", "closed_mouth", "colour", "sharpness"}


def test_an_unreadable_listener_is_not_a_number(candidate):
    valid = np.arange(FRAMES) >= 48
    scores = puppet_scores(candidate, reading(valid=valid))
    assert math.isnan(scores["liveliness"]) and math.isnan(scores["closed_mouth"])
    far = SimpleNamespace(identity=np.ones((1, 3), np.float32))
    assert puppet_scores(candidate, reading(), far)["identity"] == pytest.approx(-1.0)


def test_flicker_is_not_life():
    rng = np.random.default_rng(0)
    everywhere = torch.ones(FRAMES, dtype=torch.bool)
    slow = torch.from_numpy(np.stack([wave(4.0)] * 3, 1))
    flicker = torch.from_numpy(rng.choice([-1.0, 1.0], (FRAMES, 3)))
    assert flicker.diff(dim=0).norm(dim=1).mean() > slow.diff(dim=0).norm(dim=1).mean()
    assert head_energy(flicker, everywhere) < 0.5 * head_energy(slow, everywhere)


def test_the_pixel_reader_scores_real_frames(candidate):
    candidate.reference_HWC = candidate.video_THWC[0]
    scores = PuppetScorer({"sync": 0.1}).judge(candidate)
    assert scores.keys() == {"liveliness", "closed_mouth", "sync", "identity", "colour", "sharpness"}
    assert isinstance(PuppetScorer(), Scorer)
    assert PuppetScorer({"sync": 0.1}).tolerances["sync"] == 0.1
    with pytest.raises(ValueError, match="unknown dimension"):
        PuppetScorer({"snyc": 0.1})


class Brightness:
    """A scorer of one's own."""

    def __init__(self, name="bright", tolerance=1.0):
        self.name, self.tolerances = name, {"bright": tolerance}

    def judge(self, candidate):
        return {self.name: float(candidate.video_THWC.mean())}


def test_scorers_add_up_and_must_not_collide(candidate):
    assert score([Brightness()], candidate)["bright"] > 0
    with pytest.raises(ValueError, match="two scorers return 'bright'"):
        score([Brightness(), Brightness()], candidate)
    with pytest.raises(ValueError, match="no tolerance"):
        score([Brightness(name="light")], candidate)
