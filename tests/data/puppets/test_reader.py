import cv2
import numpy as np
import pytest
import torch

from lpm.data.puppets.controls import COLUMN, neutral
from lpm.data.puppets.draw import Puppet
from lpm.data.puppets.identity import sample_identity
from lpm.data.puppets.reader import Signals, background_lab, load_reader, read
from lpm.data.puppets.reader_network import UNITS, ReaderNetwork

FRAMES = 25
HELD_OUT = range(700_000_500, 700_000_512)


def lively(seed: int) -> np.ndarray:
    """Controls that speak, turn, nod and blink."""
    random = np.random.default_rng(seed)
    time = np.arange(FRAMES) / FRAMES
    controls = neutral(FRAMES)
    for name, size in (("yaw", 12), ("pitch", 7), ("roll", 6), ("gaze_x", 0.5), ("smile", 0.3), ("brow", 0.3)):
        controls[:, COLUMN[name]] = size * np.sin(2 * np.pi * (random.uniform(0.5, 2) * time + random.uniform()))
    controls[:, COLUMN["aperture"]] = np.clip(random.normal(0.2, 0.3, FRAMES), 0, 1)
    controls[:, COLUMN["blink_l"]] = controls[:, COLUMN["blink_r"]] = np.clip(random.normal(-0.3, 0.7, FRAMES), 0, 1)
    return controls


@pytest.fixture(scope="module")
def clips() -> list[tuple[np.ndarray, np.ndarray]]:
    return [(lively(s), Puppet(sample_identity(s), size=96, framing=1.3).render(lively(s))) for s in HELD_OUT]


@pytest.fixture(scope="module")
def signals(clips) -> list[Signals]:
    return [read(video) for _, video in clips]


def correlation(clips, signals, name: str) -> float:
    column = COLUMN["blink_l" if name == "blink" else name]
    true = np.concatenate([controls[:, column] for controls, _ in clips])
    return float(np.corrcoef(true, np.concatenate([getattr(s, name) for s in signals]))[0, 1])


@pytest.mark.parametrize("name", ["aperture", "yaw", "pitch", "blink"])
def test_signals_follow_the_truth_on_people_never_seen(clips, signals, name):
    assert correlation(clips, signals, name) >= 0.97


@pytest.mark.parametrize(("name", "least"), [("roll", 0.95), ("gaze_x", 0.8), ("smile", 0.7), ("brow", 0.7)])
def test_other_signals_are_usable(clips, signals, name, least):
    assert correlation(clips, signals, name) > least


def test_signals_have_one_entry_per_frame_in_range(signals):
    seen = signals[0]
    assert all(getattr(seen, name).shape == (FRAMES,) for name in ("aperture", "yaw", "blink", "gaze_y", "valid"))
    assert seen.aperture.dtype == seen.identity.dtype == seen.background.dtype == np.float32
    assert seen.identity.shape == (FRAMES, len(sample_identity(0).vector())) and seen.background.shape == (FRAMES, 3)
    assert 0 <= seen.aperture.min() <= seen.aperture.max() <= 1


def test_people_are_told_apart(clips, signals):
    """Each clip is nearest to its own character's picture in a neutral pose and another framing."""
    pictures = [Puppet(sample_identity(s), size=96, framing=1.15).render(neutral(1)) for s in HELD_OUT]
    references = np.stack([read(picture).person for picture in pictures])
    distances = np.stack([((references - seen.person) ** 2).sum(1) for seen in signals])
    assert (distances.argmin(1) == np.arange(len(clips))).mean() > 0.9


def test_faces_are_valid_and_backs_and_blanks_are_not(signals):
    puppet = Puppet(sample_identity(HELD_OUT[0]), size=96)
    assert np.concatenate([seen.valid for seen in signals]).mean() > 0.99
    assert not read(puppet.render(neutral(4), view="rear")).valid.any()
    assert not read(np.full((2, 96, 96, 3), 128, np.uint8)).valid.any()


@pytest.mark.parametrize("size", [64, 128, 200])
def test_any_size_reads_alike(size):
    seed = HELD_OUT[0]
    seen = read(Puppet(sample_identity(seed), size=size, framing=1.3).render(lively(seed)))
    assert np.corrcoef(seen.aperture, lively(seed)[:, COLUMN["aperture"]])[0, 1] > 0.9
    assert np.corrcoef(seen.yaw, lively(seed)[:, COLUMN["yaw"]])[0, 1] > 0.9


def test_wide_pictures_are_cut_to_the_middle(clips):
    video = clips[0][1]
    wide = np.pad(video, ((0, 0), (0, 0), (24, 24), (0, 0)))
    assert np.array_equal(read(wide).yaw, read(video).yaw)


def test_batches_do_not_change_the_result(clips):
    video = clips[0][1]
    assert np.allclose(read(video, batch=7).pitch, read(video).pitch, atol=1e-4)


def test_background_is_cie_lab():
    video = np.zeros((1, 40, 40, 3), np.uint8)
    video[:] = (200, 120, 40)
    theirs = cv2.cvtColor(video[0].astype(np.float32) / 255, cv2.COLOR_RGB2LAB)[0, 0]
    assert background_lab(video)[0] == pytest.approx(theirs, abs=0.3)  # OpenCV rounds the white point


def test_weights_are_small_and_every_one_is_trained():
    network = load_reader()
    assert sum(p.numel() for p in network.parameters()) * 2 < 4e6
    assert not network.training and not any(p.requires_grad for p in network.parameters())
    fresh = ReaderNetwork()
    controls, readable, identity = fresh(torch.randn(4, 3, 96, 96))
    (controls.sum() + readable.sum() + identity.sum()).backward()
    assert controls.shape == (4, len(UNITS))
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in fresh.parameters())


@pytest.mark.parametrize(
    ("video", "message"),
    [
        (np.zeros((2, 96, 96, 3), np.float32), "float32"),
        (np.zeros((96, 96, 3), np.uint8), r"\(96, 96, 3\)"),
        (np.zeros((0, 96, 96, 3), np.uint8), "one or more"),
        (np.zeros((2, 96, 8, 3), np.uint8), "8x96"),
        (torch.zeros(2, 96, 96, 3), "Tensor"),
    ],
)
def test_bad_videos_are_refused(video, message):
    with pytest.raises(ValueError, match=message):
        read(video)
