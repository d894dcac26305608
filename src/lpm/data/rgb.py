"""Pictures as a viewer shows them, in RGB."""

from contextlib import suppress

import numpy as np
from PIL import Image, ImageOps


def to_rgb(picture: Image.Image) -> Image.Image:
    """Return a picture in RGB as a viewer shows it: upright, 16-bit grey as 8 bits, what is transparent on white.

    Cameras store what their sensor saw, and the side that is up as EXIF; where that cannot be read, a picture stays as
    it is stored. Pillow's ``convert`` cuts 16-bit grey off at 255, and shows the colours that lie hidden under alpha.

    >>> photograph = Image.new("RGB", (40, 30))
    >>> photograph.getexif()[274] = 6  # the camera was held upright
    >>> to_rgb(photograph).size
    (30, 40)

    >>> to_rgb(Image.fromarray(np.full((1, 1), 25700, np.uint16))).getpixel((0, 0))
    (100, 100, 100)
    >>> to_rgb(Image.new("RGBA", (1, 1), (255, 0, 255, 0))).getpixel((0, 0))
    (255, 255, 255)
    """
    with suppress(SyntaxError):  # Pillow's word for EXIF that is none
        picture = ImageOps.exif_transpose(picture)
    if picture.mode.startswith("I"):
        grey = np.asarray(picture).astype(np.float32) / 257
        return Image.fromarray(grey.round().clip(0, 255).astype(np.uint8)).convert("RGB")
    if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")
    return picture.convert("RGB")
