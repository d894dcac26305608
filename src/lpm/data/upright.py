"""Pictures the right way up."""

from contextlib import suppress

from PIL import Image, ImageOps


def upright(picture: Image.Image) -> Image.Image:
    """Return a picture in RGB, turned as its EXIF orientation says: cameras store what their sensor saw.

    A picture whose EXIF cannot be read stays as it is stored.

    >>> photograph = Image.new("RGB", (40, 30))
    >>> photograph.getexif()[274] = 6  # the camera was held upright
    >>> upright(photograph).size
    (30, 40)
    """
    with suppress(SyntaxError):  # Pillow's word for EXIF that is none
        picture = ImageOps.exif_transpose(picture)
    return picture.convert("RGB")
