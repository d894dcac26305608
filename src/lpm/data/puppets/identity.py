"""Who a puppet is: proportions and colours drawn from a seed, and the vector that names them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Colour = tuple[float, float, float]

HAIR_STYLES = ("short", "side", "fringe", "bob", "long", "bun", "ponytail", "curly", "buzz", "bald")
BACKGROUNDS = ("plain", "window", "circles", "shelf", "stripes")
COLLARS = ("round", "v", "high")

SKINS = (
    (255, 224, 196),
    (246, 205, 170),
    (228, 180, 140),
    (198, 144, 104),
    (150, 100, 68),
    (112, 74, 52),
    (240, 196, 168),
)
HAIRS = (
    (40, 28, 24),
    (78, 48, 30),
    (126, 80, 44),
    (196, 150, 84),
    (226, 198, 130),
    (156, 64, 36),
    (96, 94, 102),
    (204, 202, 206),
    (62, 42, 76),
    (30, 34, 50),
)
CLOTHES = (
    (58, 92, 150),
    (170, 60, 64),
    (60, 130, 100),
    (228, 186, 84),
    (110, 80, 150),
    (44, 50, 64),
    (228, 226, 220),
    (222, 126, 80),
    (80, 148, 170),
    (190, 108, 150),
)
IRISES = ((78, 50, 32), (64, 104, 156), (74, 126, 86), (120, 84, 42), (56, 66, 80))
ROOMS = (
    (206, 222, 232),
    (240, 226, 206),
    (210, 228, 208),
    (226, 214, 236),
    (84, 98, 122),
    (248, 232, 218),
    (120, 150, 170),
    (232, 232, 228),
    (150, 110, 104),
)

# Proportions in units of about half a face height, with the range they are drawn from.
RANGES = {
    "face_width": (0.60, 0.74),
    "face_height": (0.86, 0.98),
    "jaw": (0.10, 0.40),
    "chin": (1.9, 2.5),
    "eye_spacing": (0.245, 0.305),
    "eye_size": (0.135, 0.172),
    "eye_opening": (0.080, 0.112),
    "eye_tilt": (-0.03, 0.04),
    "brow_thickness": (0.024, 0.056),
    "brow_height": (0.175, 0.235),
    "nose_width": (0.072, 0.120),
    "nose_length": (0.235, 0.310),
    "mouth_width": (0.220, 0.295),
    "lip_thickness": (0.042, 0.078),
    "shoulders": (1.15, 1.45),
    "hair_volume": (0.0, 1.0),
    "fringe_height": (0.46, 0.66),
    "lashes": (0.0, 1.0),
}
PALETTE = ("skin", "hair", "iris", "lips", "clothes", "background")
FLAGS = ("beard", "glasses", "earrings")
IDENTITY_NAMES = (
    *RANGES,
    *(f"{name}_{channel}" for name in PALETTE for channel in ("red", "green", "blue")),
    *FLAGS,
    "parting",
    *(f"hair_{name}" for name in HAIR_STYLES),
    *(f"background_{name}" for name in BACKGROUNDS),
    *(f"collar_{name}" for name in COLLARS),
)


@dataclass(frozen=True)
class Identity:
    """One character: proportions (head units, half a face height is about 0.92), colours (RGB 0..255) and accessories.

    ``RANGES`` gives the limits of the proportions; ``parting`` in [-1, 1] is the side of the hair's parting.
    """

    face_width: float
    face_height: float
    jaw: float
    chin: float
    eye_spacing: float
    eye_size: float
    eye_opening: float
    eye_tilt: float
    brow_thickness: float
    brow_height: float
    nose_width: float
    nose_length: float
    mouth_width: float
    lip_thickness: float
    shoulders: float
    hair_volume: float
    fringe_height: float
    lashes: float
    skin: Colour
    hair: Colour
    iris: Colour
    lips: Colour
    clothes: Colour
    background: Colour
    beard: bool
    glasses: bool
    earrings: bool
    parting: float
    hair_style: str
    background_kind: str
    collar: str

    def vector(self) -> np.ndarray:
        """Return the identity as float32 (len(IDENTITY_NAMES),) in [0, 1]: proportions, colours, flags, one-hot kinds.

        >>> vector = sample_identity(7).vector()
        >>> vector.shape == (len(IDENTITY_NAMES),) and bool((vector >= 0).all() and (vector <= 1).all())
        True
        """
        proportions = [(getattr(self, name) - low) / (high - low) for name, (low, high) in RANGES.items()]
        colours = [channel / 255 for name in PALETTE for channel in getattr(self, name)]
        flags = [float(getattr(self, name)) for name in FLAGS]
        kinds = [
            float(chosen == name)
            for chosen, names in (
                (self.hair_style, HAIR_STYLES),
                (self.background_kind, BACKGROUNDS),
                (self.collar, COLLARS),
            )
            for name in names
        ]
        return np.clip(np.array([*proportions, *colours, *flags, 0.5 + 0.5 * self.parting, *kinds], np.float32), 0, 1)


def sample_identity(seed: int) -> Identity:
    """Draw an identity from a seed; the same seed gives the same identity on every machine.

    >>> sample_identity(3) == sample_identity(3), sample_identity(3) == sample_identity(4)
    (True, False)
    """
    random = np.random.Generator(np.random.PCG64(seed))
    lashes = float(random.uniform() < 0.5) * 0.6 + float(random.uniform(0, 0.4))
    soft = lashes > 0.5
    # Averaging two draws keeps extreme faces rare without cutting the range.
    proportions = {name: float(np.mean(random.uniform(low, high, 2))) for name, (low, high) in RANGES.items()}
    proportions["lashes"] = lashes
    proportions["brow_thickness"] = _within(
        "brow_thickness", proportions["brow_thickness"] + (-0.007 if soft else 0.007)
    )
    proportions["lip_thickness"] = _within("lip_thickness", proportions["lip_thickness"] + (0.008 if soft else -0.006))
    proportions["jaw"] = _within("jaw", proportions["jaw"] + (0.05 if soft else -0.05))
    proportions["shoulders"] = _within("shoulders", proportions["shoulders"] + (-0.07 if soft else 0.07))
    skin = _near(random, SKINS, 7)
    lips = _near(random, ((200, 78, 86), (186, 84, 84)) if soft else ((178, 96, 88),), 9)
    lips = _colour(0.6 * np.array(lips) + np.array(skin) * (0.36, 0.25, 0.25))
    styles = (1, 2, 3, 4, 4, 5, 6, 7) if soft else (0, 0, 0, 1, 1, 7, 8, 9)
    return Identity(
        **proportions,
        skin=skin,
        hair=_near(random, HAIRS, 9),
        iris=_near(random, IRISES, 8),
        lips=lips,
        clothes=_near(random, CLOTHES, 14),
        background=_near(random, ROOMS, 8),
        beard=bool(not soft and random.uniform() < 0.35),
        glasses=bool(random.uniform() < 0.22),
        earrings=bool(soft and random.uniform() < 0.4),
        parting=float(random.choice((-1.0, 1.0)) * random.uniform(0.3, 1.0)),
        hair_style=HAIR_STYLES[int(random.choice(styles))],
        background_kind=BACKGROUNDS[int(random.integers(len(BACKGROUNDS)))],
        collar=COLLARS[int(random.integers(len(COLLARS)))],
    )


def _within(name: str, value: float) -> float:
    low, high = RANGES[name]
    return float(np.clip(value, low, high))


def _near(random: np.random.Generator, colours: tuple[tuple[int, int, int], ...], spread: float) -> Colour:
    # Mostly lighter or darker, a little other in hue: independent channels would make green hair.
    return _colour(
        np.array(colours[int(random.integers(len(colours)))])
        + spread * random.normal()
        + 0.3 * spread * random.normal(0, 1, 3)
    )


def _colour(values: np.ndarray) -> Colour:
    red, green, blue = np.clip(values, 12, 250)
    return float(red), float(green), float(blue)
