"""What surfaces look like: small pictures of skin, hair and cloth that move with the head or the torso."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from lpm.data.puppets.draw_canvas import Material
from lpm.data.puppets.draw_figure import Palette
from lpm.data.puppets.geometry import PIVOT, Pose
from lpm.data.puppets.identity import Colour, Identity
from lpm.data.puppets.style import Style, mix

PIXELS = 192
Placer = Callable[[Pose], Material]


def materials(identity: Identity, style: Style, palette: Palette) -> dict[str, tuple[Placer, bool]]:
    """Return by name how to place each material, and whether it moves with the head (else with the torso).

    Shapes whose material is missing are filled with plain colours.
    """
    if style.cel:
        return _cel_materials(identity, palette)
    x, y = _grid(1.6)
    pictures = {
        "skin": (_skin(x, y, identity, style, palette), 1.6, 0.46, True),
        "scalp": (_neck(x, y + 0.6, style, palette, 0.0), 1.6, 0.0, True),
        "neck": (_neck(x, y, style, palette, 0.34), 1.6, 0.0, False),
        "hair": (_hair(x, y, identity, style, palette.hair), 1.6, 0.30, True),
        "hair_dark": (_hair(x, y, identity, style, palette.hair_dark), 1.6, 0.0, True),
        "beard": (_hair(x, y + 1.2, identity, style, palette.hair), 1.6, 0.40, True),
        "stubble": (_stubble(x, y, style, palette), 1.6, 0.30, True),
        "clothes": (_cloth(*_grid(2.6), style, palette.clothes), 2.6, 0.0, False),
    }
    return _placed(pictures)


def _cel_materials(identity: Identity, palette: Palette) -> dict[str, tuple[Placer, bool]]:
    """Return two-tone pictures with hard edges, as in animation: lit side, shaded side, a bright band on the hair."""
    x, y = _grid(1.6)
    wide, tall = identity.face_width, identity.face_height
    skin = _two_tone(
        palette.skin, mix(palette.skin, palette.skin_dark, 0.62), np.hypot((x + 0.14) / wide, (y + 0.10) / tall) > 1.0
    )
    for side in (-1, 1):
        skin = _blend(skin, (236, 96, 92), 0.30 * (np.hypot((x - side * 0.40) / 0.13, (y - 0.25) / 0.075) < 1))
    hair = _two_tone(
        palette.hair, palette.hair_dark, np.hypot((x + 0.16) / (1.12 * wide), (y + 0.12) / (1.02 * tall)) > 1.0
    )
    zigzag = 0.05 * np.abs(((x * 7) % 2) - 1)
    band = np.abs(np.hypot(x + 0.06, y + 0.02) - 0.82 - zigzag) < 0.045
    hair = _blend(hair, (255, 246, 234), 0.45 * (band & (y < -0.5) & (np.abs(x + 0.06) < 0.42)))
    u, v = _grid(2.6)
    cloth = _two_tone(palette.clothes, mix(palette.clothes, (10, 6, 30), 0.24), u > 0.62 - 0.3 * (v - 1.3))
    return _placed(
        {
            "skin": (_bytes(skin), 1.6, 0.46, True),
            "hair": (_bytes(hair), 1.6, 0.30, True),
            "clothes": (_bytes(cloth), 2.6, 0.0, False),
        }
    )


def _two_tone(light: Colour, dark: Colour, shaded: np.ndarray) -> np.ndarray:
    return _blend(
        np.ones((*shaded.shape, 3)) * np.asarray(light), dark, cv2.GaussianBlur(shaded.astype(np.float32), (0, 0), 0.8)
    )


def _placed(pictures: dict[str, tuple[np.ndarray, float, float, bool]]) -> dict[str, tuple[Placer, bool]]:
    return {name: (_placer(pixels, reach, depth), head) for name, (pixels, reach, depth, head) in pictures.items()}


def _placer(pixels_HW3: np.ndarray, reach: float, depth: float) -> Placer:
    def place(pose: Pose) -> Material:
        turn = pose.turn_T33
        # A picture cannot wrap around the head: it slides with its middle, and shrinks less than the face does.
        middle = turn @ (np.array((0.0, 0.0, depth)) - PIVOT)
        wide, high = np.maximum(np.abs(turn[:, 0, 0]), 0.7), np.maximum(np.abs(turn[:, 1, 1]), 0.8)
        roll = np.stack(
            [np.cos(pose.roll_T), -np.sin(pose.roll_T), np.sin(pose.roll_T), np.cos(pose.roll_T)], -1
        ).reshape(-1, 2, 2)
        lean = np.where(np.abs(turn[:, 0, 2]) > 0.5, turn[:, 1, 0], 0.0)
        stretch = np.stack([wide, 0 * wide, lean, high], -1).reshape(-1, 2, 2)
        linear = roll @ stretch * pose.scale_T[:, None, None]
        shift = ((roll @ middle[:, :2, None])[..., 0] + PIVOT[:2] + pose.shift_T2) * pose.scale_T[:, None]
        return Material(pixels_HW3, reach, np.concatenate([linear, shift[..., None]], -1))

    return place


def _grid(reach: float) -> tuple[np.ndarray, np.ndarray]:
    line = (np.arange(PIXELS) + 0.5) / PIXELS * 2 * reach - reach
    x, y = np.meshgrid(line, line)
    return x, y


def _bytes(colour_HW3: np.ndarray) -> np.ndarray:
    return np.clip(colour_HW3, 0, 255).astype(np.uint8)


def _blend(base: np.ndarray, colour: Colour, share_HW: np.ndarray) -> np.ndarray:
    share = np.clip(share_HW, 0, 1)[..., None]
    return base * (1 - share) + np.asarray(colour) * share


def _skin(x: np.ndarray, y: np.ndarray, identity: Identity, style: Style, palette: Palette) -> np.ndarray:
    """Light from the upper left, darker edges, warm cheeks and nose, shade under brows, nose and lip."""
    base = np.ones((*x.shape, 3)) * palette.skin
    s = style.shading
    light = np.exp(-(((x + 0.22) / 0.50) ** 2 + ((y + 0.30) / 0.62) ** 2))
    base = _blend(base, palette.skin_light, 0.85 * s * light)
    radius = np.sqrt((x / identity.face_width) ** 2 + (y / identity.face_height) ** 2)
    base = _blend(base, palette.skin_dark, s * np.clip(0.9 * (radius - 0.62), 0, 0.6))
    base = _blend(base, palette.skin_dark, 0.30 * s * np.clip((x - 0.22) / 0.5, 0, 1))
    blush = (232, 84, 78)
    for side in (-1, 1):
        cheek = np.exp(-(((x - side * 0.40) / 0.17) ** 2 + ((y - 0.27) / 0.14) ** 2))
        base = _blend(base, blush, (0.16 + 0.14 * s * identity.lashes) * cheek)
        socket = np.exp(-(((x - side * identity.eye_spacing) / 0.19) ** 2 + ((y + 0.09) / 0.10) ** 2))
        base = _blend(base, palette.skin_dark, 0.26 * s * socket)
    base = _blend(base, blush, 0.14 * s * np.exp(-((x / 0.10) ** 2 + ((y - 0.22) / 0.09) ** 2)))
    if style.grain:
        base = base + 5.5 * style.grain * _noise(x, 1)[..., None]
    return _bytes(_hatch(base, x, y, style, 0.55 * np.clip((x - 0.15) / 0.5, 0, 1), 0.09))


def _neck(x: np.ndarray, y: np.ndarray, style: Style, palette: Palette, shade: float) -> np.ndarray:
    base = np.ones((*x.shape, 3)) * palette.skin
    base = _blend(base, palette.skin_dark, style.shading * np.clip(shade + 0.9 * np.abs(x + 0.06) ** 1.5, 0, 0.8))
    return _bytes(_hatch(base, x, y, style, 0.5 + 0 * x, 0.08))


def _hair(x: np.ndarray, y: np.ndarray, identity: Identity, style: Style, colour: Colour) -> np.ndarray:
    """Strands that run from the parting, a band of light across the crown, dark lower edges."""
    base = np.ones((*x.shape, 3)) * np.asarray(colour)
    s = style.shading
    start = 0.25 * identity.parting
    angle, radius = np.arctan2(y + 1.1, x - start), np.hypot(x - start, y + 1.1)
    curl = 5.0 if identity.hair_style == "curly" else 0.8
    strands = np.sin(angle * 23 + curl * np.sin(radius * 7)) + 0.6 * np.sin(angle * 57 + 3 * radius)
    shine = (
        np.exp(-(((np.hypot(x + 0.10, (y + 0.05) * 0.9) - 0.80) / 0.10) ** 2))
        * np.clip(-y - 0.15, 0, 1)
        * (0.75 + 0.25 * np.sin(angle * 31))
    )
    glow = np.exp(-(((x + 0.3) / 0.55) ** 2 + ((y + 0.75) / 0.5) ** 2))
    base = _blend(base, (255, 242, 224), s * (0.24 * glow + 0.40 * shine))
    base = _blend(
        base,
        mix(colour, (16, 4, 12), 0.6),
        s * (0.55 * np.clip((np.hypot(x / 0.95, (y + 0.15) / 1.1) - 0.66) / 0.6, 0, 1) + 0.14 * np.clip(strands, 0, 2)),
    )
    if style.grain:
        base = (
            base
            + 11 * style.grain * (np.sin(angle * 140 + 4 * np.sin(radius * 9)) * 0.6 + _noise(x, 2) * 0.7)[..., None]
        )
    return _bytes(_hatch(base, angle * 0.9, radius * 0.2, style, 0.75 + 0 * x, 0.075))


def _stubble(x: np.ndarray, y: np.ndarray, style: Style, palette: Palette) -> np.ndarray:
    base = np.ones((*x.shape, 3)) * (0.60 * np.asarray(palette.hair) + 0.40 * np.asarray(palette.skin))
    base = _blend(
        base, palette.skin_light, 0.30 * style.shading * np.exp(-(((x + 0.25) / 0.4) ** 2 + ((y + 0.72) / 0.3) ** 2))
    )
    base = base + (5 + 9 * style.grain) * _noise(x, 3)[..., None]
    return _bytes(_hatch(base, x, y, style, 0.6 + 0 * x, 0.06))


def _cloth(x: np.ndarray, y: np.ndarray, style: Style, colour: Colour) -> np.ndarray:
    """A soft fold from each shoulder, light from the upper left."""
    base = np.ones((*x.shape, 3)) * np.asarray(colour)
    s = style.shading
    base = _blend(base, (255, 255, 255), 0.20 * s * np.exp(-(((x + 0.85) / 0.5) ** 2 + ((y - 1.35) / 0.25) ** 2)))
    base = _blend(base, (10, 6, 26), s * np.clip(0.30 * (y - 1.35) + 0.16 * x, 0, 0.45))
    for side in (-1, 1):
        crease = np.exp(-(((x - side * (0.92 + 0.12 * (y - 1.6))) / 0.045) ** 2)) * np.clip((y - 1.42) * 2.2, 0, 1)
        base = _blend(base, (10, 6, 26), 0.30 * max(s, 0.4) * crease)
    if style.grain:
        knit = np.sin(x * 70) * np.sin(y * 70) + 0.5 * _noise(x, 4)
        base = base + 11 * style.grain * knit[..., None]
    return _bytes(_hatch(base, x, y, style, 0.4 + 0.4 * np.clip(x, 0, 1), 0.11))


def _noise(x: np.ndarray, seed: int) -> np.ndarray:
    random = np.random.Generator(np.random.PCG64(seed))
    fine = random.normal(0, 1, x.shape).astype(np.float32)
    return cv2.GaussianBlur(fine, (0, 0), 0.9) * 2.2


def _hatch(base: np.ndarray, x: np.ndarray, y: np.ndarray, style: Style, share: np.ndarray, pitch: float) -> np.ndarray:
    """Lay slanted pencil strokes over a picture, dense where ``share`` is high."""
    if not style.hatching:
        return base
    wave = np.sin((x * 1.0 + y * 0.9) * 2 * np.pi / pitch + 1.3 * np.sin(y * 5))
    stroke = np.clip((wave - 0.35) * 2.0, 0, 1) * style.hatching
    return _blend(base, (70, 64, 70), 0.42 * stroke * share)
