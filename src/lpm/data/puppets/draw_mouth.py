"""Drawing the mouth: lips, teeth, tongue."""

from __future__ import annotations

import numpy as np

from lpm.data.puppets.draw_canvas import Shape
from lpm.data.puppets.draw_figure import Figure
from lpm.data.puppets.geometry import between, project, smooth_step
from lpm.data.puppets.geometry_head import MOUTH_LEVEL, near_side, skin_depth
from lpm.data.puppets.identity import Colour
from lpm.data.puppets.style import mix, mix_frames

GAPE = 0.35  # height of the gap between the lips at aperture 1, in head units
UPPER_SHARE, LOWER_SHARE = 0.26, 0.74
REST_LIFT = 0.20  # corners of a mouth at rest, as a share of a full smile
COLUMNS = np.linspace(-1, 1, 25)


def mouth(figure: Figure) -> list[Shape]:
    """Return the mouth back to front: cavity, tongue, teeth, lips, the line between them, gloss.

    The gap's height is proportional to ``aperture`` and its width does not depend on it, so its area is linear.
    """
    identity, motion, palette = figure.identity, figure.motion, figure.palette
    smile, rounding = motion["smile"], motion["round"]
    aperture = motion["aperture"]
    u = COLUMNS
    half = identity.mouth_width * (
        1 + 0.24 * motion["width"] + 0.20 * smile + 0.05 * np.abs(motion["smirk"]) - 0.46 * rounding
    )
    corner = corners(figure, u)
    gap = GAPE * aperture
    arch, flat = 1 - np.abs(u) ** 2.2, 1 - u**2
    lift = 0.055 * motion["sneer"] * np.abs(np.sin(np.pi * np.clip(np.abs(u) * 1.1, 0, 1)))
    upper = MOUTH_LEVEL - UPPER_SHARE * gap * arch + corner
    lower = np.maximum(MOUTH_LEVEL + LOWER_SHARE * gap * arch + corner, upper)
    full = 1 + 0.35 * rounding - 0.20 * np.clip(smile, 0, 1) - 0.12 * motion["width"]
    cupid = 1 + 0.24 * np.exp(-(((np.abs(u) - 0.26) / 0.25) ** 2)) - 0.30 * np.exp(-((u / 0.16) ** 2))
    thick_upper = 0.82 * identity.lip_thickness * full * flat**0.8 * cupid + 0.6 * lift
    thick_lower = 1.12 * identity.lip_thickness * full * arch
    x = near_side(identity, figure.pose, half * u, 0.55)
    depth = skin_depth(identity, x, np.array(MOUTH_LEVEL)) + 0.045 * flat + 0.05 * rounding * flat

    def line(y: np.ndarray, shrink: float = 1.0) -> np.ndarray:
        return project(figure.pose, x * shrink, y, depth)

    shown = figure.face_shown_T
    # A share of the gap, so that teeth, dark and tongue grow together; wide and smiling lips bare more teeth.
    bared = np.clip(0.36 + 0.22 * motion["width"] + 0.26 * smile - 0.20 * rounding, 0.10, 0.80)
    grown = smooth_step(gap, 0.02, 0.12)
    bared = np.minimum(bared, 0.105 / np.maximum(gap, 1e-3)) * grown
    teeth = np.minimum(lower, upper + bared * (lower - upper))
    low_teeth = np.maximum(teeth, lower - 0.036 * grown * arch * (1 - 0.8 * rounding))
    tongue_rise = (0.30 + 0.45 * motion["tongue"]) * grown
    tongue = np.maximum(upper + 0.2 * (lower - upper), lower - tongue_rise * (lower - upper) * (1 - np.abs(u) ** 2.6))
    lip = palette.lips
    white = mix((248, 245, 238), palette.paper, 0.4 * figure.style.paper)
    dark = mix((66, 14, 22), palette.paper, 0.25 * figure.style.paper)
    pink = mix((206, 98, 98), palette.paper, 0.4 * figure.style.paper)
    opened = shown & (aperture[:, 0] > 0.004)

    def inside(colour: Colour) -> np.ndarray:
        # The thinnest polygon is still a line: let it come out of the dark.
        return mix_frames(dark, colour, smooth_step(gap, 0.025, 0.05))

    mid = slice(4, -4)
    shapes = [
        figure.stroke(
            line(lower + thick_lower + 0.052)[:, 6:-6], 0.030, mix(palette.skin, palette.skin_dark, 0.45), shown
        ),
        Shape(between(line(upper - thick_upper), line(upper)), mix(lip, (84, 12, 24), 0.20), show_T=shown),
        Shape(between(line(lower), line(lower + thick_lower)), lip, show_T=shown),
        figure.stroke(line(upper), 0.016, mix(lip, (50, 2, 12), 0.62), shown),
        # Over the lips: their soft edges would hide the first hundredths of an opening.
        Shape(between(line(upper), line(lower)), dark, show_T=opened),
        Shape(between(line(low_teeth)[:, 5:-5], line(lower)[:, 5:-5]), inside(mix(white, dark, 0.22)), show_T=opened),
        Shape(between(line(tongue)[:, mid], line(lower)[:, mid]), inside(pink), show_T=opened),
        Shape(between(line(upper)[:, 2:-2], line(teeth)[:, 2:-2]), inside(white), show_T=opened),
    ]
    if figure.style.shading > 0.5:
        gloss = line(lower + 0.42 * thick_lower)[:, 9:15]
        shapes.append(
            figure.stroke(
                gloss, 0.020, mix(lip, (255, 250, 246), 0.42), shown & (np.abs(figure.pose.aside_T1[:, 0]) < 0.8)
            )
        )
    if figure.style.eyes > 1.1 or figure.style.hatching:
        shapes.append(figure.stroke(line(lower + thick_lower)[:, 4:-4], 0.014, figure.ink(lip), shown))
    return shapes


def corners(figure: Figure, u: np.ndarray) -> np.ndarray:
    """Return the vertical shift (T, N) of the lip line: smiles lift the corners, a smirk one of them."""
    motion = figure.motion
    pull = REST_LIFT + motion["smile"] + np.clip(motion["smirk"] * np.sign(u), 0, 1) * 0.95
    return -0.088 * pull * np.abs(u) ** 2 + 0.024 * motion["smile"]
