"""Identity references of a puppet: how it looks elsewhere, from other sides and with other faces.

The three kinds follow LPM 1.0, identity references: one global appearance away from the clip, up to four body views and
up to eight expressions. Half of the clips have no body view and half no expression: a model must do without them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lpm.data.puppets.controls import COLUMN, neutral, pose
from lpm.data.puppets.draw import Puppet
from lpm.data.puppets.expressions import expression
from lpm.data.puppets.reveal import smile_own_way

VIEWS = ("front", "left", "right", "rear")
EXPRESSIONS = ("happy", "sad", "angry", "surprised", "afraid", "disgusted", "contemptuous", "sleepy")
ALONE = 0.5  # share of clips with no body view, and independently with no expression
LEAST_TURN = 8.0  # degrees between frame 0 and the global reference
BODY_FRAMING = 0.9  # wider than any clip: shoulders and chest are visible
Choose = Callable[[tuple[str, ...], np.random.Generator], list[str]]


@dataclass(frozen=True)
class Reference:
    """One reference image (size, size, 3) uint8; `box` is (x0, y0, x1, y1) in its pixels."""

    kind: str
    sub_kind: str
    image: np.ndarray
    box: tuple[int, int, int, int]


def draw_references(
    puppet: Puppet,
    style: str,
    first_frame_K: np.ndarray,
    rng: np.random.Generator,
    choose: Choose | None = None,
    smile_K: np.ndarray | None = None,
) -> list[Reference]:
    """Return the references of a clip: the global one, then some of the body views and expressions.

    Args:
        puppet: the character as the clip draws it; body views show it from further away.
        style: its drawing style.
        first_frame_K: controls of frame 0, which the global reference avoids.
        rng: source of chance.
        choose: takes names of views and then of expressions; a random ``subset`` if None.
        smile_K: the character's own smile (``own_smile``), which expressions show and the global reference does not;
            None for the smile that all have.
    """
    choose = choose or subset
    views, names = choose(VIEWS, rng), choose(EXPRESSIONS, rng)
    moments = [elsewhere(first_frame_K, rng)]
    moments += [expression(name, rng.uniform(0.7, 1.0)) + pose(yaw=rng.uniform(-8, 8)) for name in names]
    if smile_K is not None:
        moments[0][COLUMN["smile"]] = min(0.0, moments[0][COLUMN["smile"]])
        moments = list(smile_own_way(np.stack(moments), smile_K))
    appearance, *faces = puppet.render(np.stack(moments))
    found = [("global", "", appearance)]
    if views:
        wide = Puppet(puppet.identity, puppet.size, style, BODY_FRAMING)
        found += [("body", view, wide.render(neutral(), view=view)[0]) for view in views]
    found += [("expression", name, face) for name, face in zip(names, faces, strict=True)]
    return [Reference(kind, sub_kind, image, (0, 0, puppet.size, puppet.size)) for kind, sub_kind, image in found]


def elsewhere(first_frame_K: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return controls (K,) of another moment, turned away from frame 0 and in another mood: copying must not pay."""
    yaw = rng.uniform(-22, 22)
    while abs(yaw - first_frame_K[COLUMN["yaw"]]) < LEAST_TURN:
        yaw = rng.uniform(-22, 22)
    return pose(
        yaw=yaw,
        pitch=rng.uniform(-6, 6),
        roll=rng.uniform(-4, 4),
        gaze_x=rng.uniform(-0.4, 0.4),
        brow=rng.uniform(-0.2, 0.6),
        smile=rng.uniform(-0.3, 0.8),
        aperture=rng.choice([0.0, 0.3]),
    )


def subset(names: tuple[str, ...], rng: np.random.Generator) -> list[str]:
    """Return no name (with probability `ALONE`) or a random, non-empty subset in the given order."""
    if rng.random() < ALONE:
        return []
    chosen = rng.choice(len(names), size=rng.integers(1, len(names) + 1), replace=False)
    return [names[i] for i in sorted(chosen)]


def telling(names: tuple[str, ...], rng: np.random.Generator) -> list[str]:
    """Return every body view, or the happy expression and one other, for clips that reveal either."""
    if "happy" not in names:
        return list(names)
    other = rng.choice([name for name in names if name != "happy"])
    return [name for name in names if name in ("happy", other)]
