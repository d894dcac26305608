"""Scores of puppets, read from pixels: a lively listener with a closed mouth, lips, identity, a steady picture."""

import torch
from torch import Tensor

from lpm.data.puppets import Signals, read
from lpm.metric import (
    aperture_agreement,
    colour_drift,
    identity_distance,
    sharpness,
    sharpness_drift,
)
from lpm.preference.candidate import Candidate
from lpm.types import STATES

# measured against the spread between seeds: docs/how/preference.md
TOLERANCES = {
    "liveliness": 0.05,
    "closed_mouth": 0.001,
    "sync": 0.02,
    "identity": 0.005,
    "colour": 0.5,
    "sharpness": 0.25,
}
SMOOTH = 5
LEAST = 12


class PuppetScorer:
    """Scores a puppet's clip by the pixel reader; higher is better in every dimension (``puppet_scores``).

    Args:
        tolerances: of some or all dimensions, in place of the defaults.
    """

    def __init__(self, tolerances: dict[str, float] | None = None) -> None:
        unknown = sorted(set(tolerances or {}) - set(TOLERANCES))
        if unknown:
            raise ValueError(f"tolerance of unknown dimension {unknown}; choose from {', '.join(TOLERANCES)}")
        self.tolerances = TOLERANCES | (tolerances or {})

    def judge(self, candidate: Candidate) -> dict[str, float]:
        """Read the video and its reference, and return the scores."""
        reference = candidate.reference_HWC
        own = None if reference is None else read(reference[None])
        return puppet_scores(candidate, read(candidate.video_THWC), own)


def puppet_scores(candidate: Candidate, reading: Signals, reference: Signals | None = None) -> dict[str, float]:
    """Return the scores of a clip that was read.

    - ``liveliness`` (12 listening frames or more): with truth, minus the absolute log ratio of ``head_energy`` to the
      truth's, so that neither stillness nor fidgeting wins; without, the log of the energy.
    - ``closed_mouth`` (likewise): minus the mean aperture on listening frames, [-1, 0].
    - ``sync`` (12 speaking frames or more, with truth): ``lpm.metric.aperture_agreement``.
    - ``identity`` (with a reference): minus ``lpm.metric.identity_distance``.
    - ``colour``: minus ``lpm.metric.colour_drift`` of the background, ``sharpness``: minus the absolute
      ``lpm.metric.sharpness_drift``.

    A dimension is NaN where too few frames could be read.
    """
    listening, speaking = (candidate.state_T == STATES.index(name) for name in ("listening", "speaking"))
    valid, truth = torch.as_tensor(reading.valid), candidate.truth
    scores: dict[str, Tensor] = {}
    if int(listening.sum()) >= LEAST:
        energy = head_energy(_head(reading.yaw, reading.pitch, reading.roll), listening & valid)
        if {"yaw", "pitch", "roll"} <= truth.keys():
            true_energy = head_energy(_head(truth["yaw"], truth["pitch"], truth["roll"]), listening)
            scores["liveliness"] = -(_log(energy) - _log(true_energy)).abs()
        else:
            scores["liveliness"] = _log(energy)
        aperture, seen = torch.as_tensor(reading.aperture), listening & valid
        scores["closed_mouth"] = -aperture[seen].mean() if int(seen.sum()) >= LEAST else torch.tensor(float("nan"))
    if int(speaking.sum()) >= LEAST and "aperture" in truth:
        scores["sync"] = aperture_agreement(reading.aperture, truth["aperture"], speaking, valid)
    if reference is not None:
        scores["identity"] = -identity_distance(reading.identity, reference.identity[0], valid_T=valid)
    scores["colour"] = -colour_drift(reading.background)
    scores["sharpness"] = -sharpness_drift(sharpness(torch.from_numpy(candidate.video_THWC))).abs()
    return {name: float(value) for name, value in scores.items()}


def head_energy(head_T3: Tensor, where_T: Tensor) -> Tensor:
    """Return the mean speed of the head in degrees a frame where ``where_T``, NaN for fewer than 12 such frames.

    Angles are averaged over 5 frames first: what flickers from frame to frame is the reader's error or jitter, and
    neither is life.
    """
    if len(head_T3) <= SMOOTH:
        return torch.tensor(float("nan"))
    smooth = head_T3.double().unfold(0, SMOOTH, 1).mean(-1)
    edge = SMOOTH // 2
    inside = where_T[edge : len(where_T) - edge]
    both = inside[1:] & inside[:-1]
    if int(both.sum()) < LEAST - 1:
        return torch.tensor(float("nan"))
    return smooth.diff(dim=0).norm(dim=1)[both].mean()


def _head(yaw: object, pitch: object, roll: object) -> Tensor:
    return torch.stack([torch.as_tensor(track) for track in (yaw, pitch, roll)], dim=1)


def _log(energy: Tensor, floor: float = 0.01) -> Tensor:
    return (energy + floor).log()
