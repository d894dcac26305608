"""The room behind a puppet: one still picture per identity and style."""

from __future__ import annotations

import cv2
import numpy as np

from lpm.data.puppets.identity import Colour, Identity
from lpm.data.puppets.style import PAPER, Style, mix


def background(identity: Identity, style: Style, size: int) -> np.ndarray:
    """Return the background (size, size, 3) uint8."""
    light = mix(identity.background, PAPER, 0.85 * style.paper)
    dark = mix(light, (30, 24, 44), 0.10 if style.paper else 0.24)
    down, right = np.mgrid[0:size, 0:size] / size
    fade = np.clip(0.75 * down + 0.3 * right, 0, 1)[..., None] if style.shading else np.zeros((size, size, 1))
    canvas = np.ascontiguousarray(((1 - fade) * light + fade * dark).astype(np.uint8))
    _furnish(canvas, identity.background_kind, mix(light, (255, 255, 255), 0.34), mix(dark, (20, 14, 30), 0.14))
    if style.grain:
        _weave(canvas, style.grain)
    return canvas


def _furnish(canvas: np.ndarray, kind: str, bright: Colour, deep: Colour) -> None:
    size = len(canvas)

    def box(x: float, y: float, width: float, height: float, colour: Colour) -> None:
        corner = (round(x * size), round(y * size))
        cv2.rectangle(canvas, corner, (round((x + width) * size), round((y + height) * size)), colour, -1)

    def disc(x: float, y: float, radius: float, colour: Colour) -> None:
        cv2.circle(canvas, (round(x * size), round(y * size)), round(radius * size), colour, -1, cv2.LINE_AA)

    if kind == "window":
        box(0.70, 0.06, 0.24, 0.36, bright)
        box(0.81, 0.06, 0.016, 0.36, deep)
        box(0.70, 0.23, 0.24, 0.016, deep)
    elif kind == "circles":
        disc(0.13, 0.22, 0.16, bright)
        disc(0.92, 0.52, 0.20, deep)
    elif kind == "shelf":
        box(0.0, 0.64, 1.0, 0.36, deep)
        box(0.05, 0.10, 0.18, 0.24, bright)
    elif kind == "stripes":
        for start in np.arange(0.0, 1.0, 0.2):
            box(float(start), 0.0, 0.1, 1.0, mix(bright, deep, 0.35))


def _weave(canvas: np.ndarray, strength: float) -> None:
    random = np.random.Generator(np.random.PCG64(11))
    size = len(canvas)
    coarse = random.normal(0, 1, (max(8, size // 4), max(8, size // 12))).astype(np.float32)
    noise = cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC)
    canvas[:] = np.clip(canvas + (6 * strength * noise)[..., None], 0, 255).astype(np.uint8)
