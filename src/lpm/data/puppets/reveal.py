"""What a first picture cannot tell: the other sides of a character that turns, and a smile of its own.

Corpora have such clips on request (``CorpusSpec.reveals``), so that references can be seen to tell it: body views the
sides, expressions the smile. All follow from the present picture and the prompt, without any chance: a model can know
when they happen, and only how they look is left to know.
"""

from __future__ import annotations

import numpy as np

from lpm.data.puppets.controls import COLUMN, pose
from lpm.data.puppets.geometry import smooth_step
from lpm.data.puppets.plan import derived_seed

PROMPTS = {
    "turn": "The character turns a quarter to the right.",
    "cut": "A cut: the character is seen a quarter further to the right.",
    "smile": "The character breaks into a smile.",
    "smile_cut": "A cut: the character is seen with a smile.",
}
QUARTER = 90.0  # degrees: from one of the sides that body views show to the next
TURN_BEGINS, TURN_STANDS = 0.2, 1.4  # seconds
SMILE_BEGINS, SMILE_STANDS = 0.1, 1.1  # seconds
OWN_SMILES = {"smile": (0.3, 1.0), "smirk": (-0.7, 0.7), "aperture": (-0.3, 0.45), "width": (-0.3, 0.5)}
"""Ranges of a full smile's controls; a drawn aperture below 0 is a closed mouth."""
SMILES = ("smile", "smile_cut")
MOODS_OF_MOUTH = ("smile", "smirk", "sneer")


def turning(clip_seed: int, frames: int, fps: float) -> np.ndarray:
    """Return the turn (frames,) in degrees of a character that turns a quarter to the right and stays so.

    It is seen first from the front, the back or either side, and turns in little more than a second.
    """
    return first_side(clip_seed) + QUARTER * smooth_step(np.arange(frames) / fps, TURN_BEGINS, TURN_STANDS)


def cutting(clip_seed: int, frames: int) -> np.ndarray:
    """Return the turn (frames,) in degrees of a character seen a quarter further to the right after the first picture.

    What then comes to light is a body view as it is, where ``turning`` also passes by sides that no reference shows.
    """
    return first_side(clip_seed) + QUARTER * (np.arange(frames) > 0)


def first_side(clip_seed: int) -> float:
    """Return the turn in degrees with which a clip begins: front, back or either side."""
    return QUARTER * np.random.default_rng(derived_seed(clip_seed, "turn")).integers(4)


def turn_of(reveal: str, clip_seed: int, frames: int, fps: float) -> np.ndarray:
    """Return the turn (frames,) in degrees of a clip that reveals this; zeros where nobody turns."""
    if reveal == "cut":
        return cutting(clip_seed, frames)
    return turning(clip_seed, frames, fps) if reveal == "turn" else np.zeros(frames)


def away_from_front(turn_T: np.ndarray) -> np.ndarray:
    """Return how many degrees a turned character faces away from the viewer, 0..180.

    >>> away_from_front(np.array([0.0, 270.0, -190.0])).tolist()
    [0.0, 90.0, 170.0]
    """
    return np.abs((turn_T + 180) % 360 - 180)


def own_smile(identity: int) -> np.ndarray:
    """Return the controls (K,) of a character's full smile: how far it goes, to which side, how much it bares.

    A face at rest shows nothing of it.
    """
    rng = np.random.default_rng(derived_seed(identity, "smile"))
    drawn = {name: rng.uniform(*range_) for name, range_ in OWN_SMILES.items()}
    return pose(**{**drawn, "aperture": max(0.0, drawn["aperture"])})


def smile_own_way(controls_TK: np.ndarray, smile_K: np.ndarray) -> np.ndarray:
    """Return the controls with every smile, as far as it goes, replaced by as much of the character's own."""
    own, column = controls_TK.copy(), COLUMN["smile"]
    joy_T = np.clip(controls_TK[:, column], 0, 1)
    own[:, column] -= joy_T
    own += joy_T[:, None] * smile_K
    for name, least in (("smile", -1.0), ("smirk", -1.0), ("width", -1.0), ("aperture", 0.0)):
        own[:, COLUMN[name]] = own[:, COLUMN[name]].clip(least, 1.0)
    return own


def break_into_smile(controls_TK: np.ndarray, fps: float, at_once: bool = False) -> np.ndarray:
    """Return the controls with a mouth that begins without any mood and smiles fully after about a second.

    ``at_once`` it smiles fully after the first picture, as if after a cut.
    """
    smiling = controls_TK.copy()
    for name in MOODS_OF_MOUTH:
        smiling[:, COLUMN[name]] = 0
    frames = np.arange(len(smiling))
    full_T = frames > 0 if at_once else smooth_step(frames / fps, SMILE_BEGINS, SMILE_STANDS)
    smiling[:, COLUMN["smile"]] = full_T
    return smiling
