import numpy as np
import pytest
import torch
from scipy import ndimage

from lpm.metric import ColourDrift, SharpnessDrift, colour_difference, colour_drift, sharpness, sharpness_drift

# Pairs and differences from Sharma, Wu and Dalal (2005), table 1.
PUBLISHED = [
    ([50.0000, 2.6772, -79.7751], [50.0000, 0.0000, -82.7485], 2.0425),
    ([50.0000, -1.3802, -84.2814], [50.0000, 0.0000, -82.7485], 1.0000),
    ([50.0000, 0.0000, 0.0000], [50.0000, -1.0000, 2.0000], 2.3669),
    ([50.0000, 2.4900, -0.0010], [50.0000, -2.4900, 0.0009], 7.1792),
    ([50.0000, 2.5000, 0.0000], [73.0000, 25.0000, -18.0000], 27.1492),
    ([60.2574, -34.0099, 36.2677], [60.4626, -34.1751, 39.4387], 1.2644),
    ([22.7233, 20.0904, -46.6940], [23.0331, 14.9730, -42.5619], 2.0373),
    ([2.0776, 0.0795, -1.1350], [0.9033, -0.0636, -0.5514], 0.9082),
]


@pytest.mark.parametrize(("first", "second", "expected"), PUBLISHED)
def test_colour_difference_equals_the_published_table(first, second, expected):
    first, second = torch.tensor(first), torch.tensor(second)
    assert colour_difference(first, second) == pytest.approx(expected, abs=1e-4)
    assert colour_difference(second, first) == pytest.approx(expected, abs=1e-4)


def test_colour_drift_compares_the_ends():
    lab = np.tile([50.0, 20.0, -10.0], (100, 1))
    assert colour_drift(lab) == 0
    drifted = lab.copy()
    drifted[85:, 0] += 10
    expected = colour_difference(torch.tensor(lab[0]), torch.tensor(drifted[-1]))
    assert colour_drift(drifted) == pytest.approx(expected)
    drifted[50] = 0
    assert colour_drift(drifted) == pytest.approx(expected)


def test_sharpness_equals_scipy():
    video = np.random.default_rng(0).integers(0, 255, (3, 20, 24, 3), dtype=np.uint8)
    luma = video @ np.array([0.299, 0.587, 0.114])
    for ours, frame in zip(sharpness(video), luma, strict=True):
        assert ours == pytest.approx(ndimage.laplace(frame)[1:-1, 1:-1].var())


def test_sharpness_drift_sees_a_blur():
    frame = np.random.default_rng(1).uniform(0, 255, (40, 40, 3))
    video = np.stack([ndimage.gaussian_filter(frame, (s, s, 0)) for s in np.linspace(0.5, 2, 20)])
    assert sharpness_drift(sharpness(video)) < -2
    assert sharpness_drift(sharpness(video[:1].repeat(20, 0))) == 0


def test_metrics_average_clips():
    colour, sharp = ColourDrift(), SharpnessDrift()
    for lift in (0.0, 5.0):
        colour.update(np.linspace(0, lift, 40)[:, None] + np.full((40, 3), 30.0))
        sharp.update(np.linspace(10, 10 + lift, 40))
    assert 0 < colour.compute().value < 5
    assert sharp.compute().value > 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: colour_drift(np.zeros((5, 4))), "columns"),
        (lambda: sharpness(np.zeros((5, 9, 9))), r"\(T, H, W, 3\)"),
        (lambda: sharpness_drift(-np.ones(9)), "variance"),
    ],
)
def test_bad_pictures_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
