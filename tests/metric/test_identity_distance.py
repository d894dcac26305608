import numpy as np
import pytest
from scipy import stats

from lpm.metric import (
    IdentityDistance,
    IdentityVerification,
    identity_distance,
    identity_distances,
    identity_drift,
    verify,
)

rng = np.random.default_rng(0)
GALLERY = rng.uniform(size=(50, 14))
CLIP = GALLERY[7] + 0.02 * rng.normal(size=(60, 14))


def test_distance_equals_numpy():
    spread = rng.uniform(0.01, 0.1, 14)
    expected = np.median(np.sqrt((((CLIP - GALLERY[7]) / spread) ** 2).mean(1)))
    assert identity_distance(CLIP, GALLERY[7], spread) == pytest.approx(expected)


def test_unread_frames_are_far():
    valid = np.arange(60) < 25
    assert identity_distance(CLIP, GALLERY[7], valid_T=valid) == 10
    assert verify(CLIP, GALLERY[7], GALLERY[8:], valid_T=valid) == 0


def test_verification_tells_own_from_other():
    others = np.delete(GALLERY, 7, axis=0)
    assert verify(CLIP, GALLERY[7], others) == 1
    assert verify(CLIP, GALLERY[3], np.delete(GALLERY, 3, axis=0)) == 0


def test_drift_equals_scipy():
    morph = CLIP + np.linspace(0, 0.5, 60)[:, None]
    distance = identity_distances(morph, GALLERY[7])
    expected = stats.theilslopes(distance.numpy(), np.arange(60) / 24 / 60).slope
    assert identity_drift(distance, 24.0) == pytest.approx(expected)
    assert identity_drift(distance, 24.0) > 10 * abs(identity_drift(identity_distances(CLIP, GALLERY[7]), 24.0))


def test_metrics_average_clips():
    distance, verification = IdentityDistance([0.02] * 14), IdentityVerification()
    for own in (7, 3):
        distance.update(CLIP, GALLERY[own], identity=own)
        verification.update(CLIP, GALLERY[own], np.delete(GALLERY, own, axis=0), identity=own)
    assert verification.compute().value == 0.5
    assert distance.compute().value > identity_distance(CLIP, GALLERY[7], np.full(14, 0.02))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: identity_distance(CLIP, GALLERY[7, :9]), "14 columns"),
        (lambda: identity_distance(CLIP, GALLERY[7], np.zeros(14)), "above 0"),
        (lambda: identity_distance(CLIP[0], GALLERY[7]), "one row per frame"),
        (lambda: identity_distance(np.full((3, 14), np.nan), GALLERY[7]), "not finite"),
        (lambda: verify(CLIP, GALLERY[7], GALLERY[:, :3]), "3 columns"),
    ],
)
def test_bad_identities_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
