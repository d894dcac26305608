"""The eight named expressions as offsets of the controls."""

from __future__ import annotations

import numpy as np

from lpm.data.puppets.controls import pose

EXPRESSIONS = {
    "happy": pose(smile=0.95, brow=0.18, eyelid=0.12, width=0.15),
    "sad": pose(smile=-0.75, brow=0.30, frown=0.30, eyelid=0.28, gaze_y=0.30, pitch=6.0),
    "angry": pose(frown=1.0, brow=-0.55, smile=-0.45, eyelid=0.28, sneer=0.25, width=0.10),
    "surprised": pose(brow=1.0, eyelid=-1.0, aperture=0.38, round=0.35),
    "afraid": pose(brow=0.75, frown=0.55, eyelid=-0.75, width=0.45, smile=-0.40, aperture=0.14),
    "disgusted": pose(sneer=1.0, frown=0.55, eyelid=0.55, smile=-0.45, brow=-0.25),
    "contemptuous": pose(smirk=0.95, eyelid=0.32, brow=0.10, pitch=-4.0),
    "sleepy": pose(blink_l=0.55, blink_r=0.55, brow=-0.18, pitch=7.0, smile=-0.12, gaze_y=0.25),
}


def expression(name: str, intensity: float = 1.0) -> np.ndarray:
    """Return the control offsets (K,) float32 of a named expression; ``intensity`` in [0, 1] scales them.

    >>> bool(expression("happy", 0.5).sum() > 0)
    True
    """
    if name not in EXPRESSIONS:
        raise ValueError(f"expression {name!r} is unknown; choose one of {', '.join(EXPRESSIONS)}")
    if not 0.0 <= intensity <= 1.0:
        raise ValueError(f"intensity {intensity!r} is outside 0..1; pass a share of the full expression")
    return (EXPRESSIONS[name] * np.float32(intensity)).astype(np.float32)
