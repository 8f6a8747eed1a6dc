"""Colour images of 16 bits a channel, of which Pillow keeps the upper 8 bits: nearly black for a camera of 12 bits.

Their values are read in full, and stretched as grey images of more than 8 bits are (``pixel_range.py``).
"""

from __future__ import annotations

import sys
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from spcl.pixel_range import PixelRange

_SWAPPED = {";16L": ";16B", ";16B": ";16L", ";16N": ";16B" if sys.byteorder == "little" else ";16L"}
"""Form of pixels in the other byte order, in which Pillow keeps the lower 8 bits."""

_WITHOUT_LOWER_BITS = "LA"
"""Forms that Pillow reads in one byte order only: grey with opacity."""


def stretched_colour(image: Image.Image, pixel_range: PixelRange) -> Image.Image | None:
    """Stretch a colour image of 16 bits a channel that uses little of its range.

    Args:
        image: Image that was opened and whose pixels are not decoded yet.
        pixel_range: Value range of images of more than 8 bits.

    Returns:
        The image with 8 bits a channel, its opacity and its EXIF data kept; None if the image has 8 bits a channel, is
        decoded already, or uses its range.
    """
    file = getattr(image, "fp", None)
    if image.mode not in ("RGB", "RGBA") or not _pixel_form(image) or file is None:
        return None
    place = file.tell()
    file.seek(0)
    content = file.read()
    file.seek(place)
    values = _sixteen_bits(content)
    opacity = values[..., -1:] if image.mode == "RGBA" else values[..., :0]
    pixels, is_stretched = pixel_range.to_eight_bits(values[..., : values.shape[2] - opacity.shape[2]], 65535.0)
    if not is_stretched:
        return None
    channels = np.concatenate([pixels, (opacity >> 8).astype(np.uint8)], axis=2)
    stretched = Image.fromarray(np.ascontiguousarray(channels), mode=image.mode)
    stretched.info["exif"] = image.getexif().tobytes()
    return stretched


def _pixel_form(image: Image.Image) -> str:
    """Pillow's name of the form of a file's pixels if they have 16 bits a channel (``RGB;16B``), else empty."""
    for _, _, _, arguments in getattr(image, "tile", ()):
        form = arguments if isinstance(arguments, str) else arguments[0] if arguments else ""
        if isinstance(form, str) and form[-4:] in _SWAPPED:
            return form
    return ""


def _sixteen_bits(content: bytes) -> NDArray[np.uint16]:
    """The pixels of an image file, ``[H, W, C]``."""
    with Image.open(BytesIO(content)) as image:
        form = _pixel_form(image)
        values: NDArray[np.uint16] = np.asarray(image).astype(np.uint16) << np.uint16(8)
    if not form.startswith(_WITHOUT_LOWER_BITS):
        with Image.open(BytesIO(content)) as image:
            opened: Any = image
            opened.tile = [_swapped(tile) for tile in opened.tile]
            values = values + np.asarray(image).astype(np.uint16)
    return values


def _swapped(tile: Any) -> Any:
    """A part of a file whose pixels are read in the other byte order."""
    *place, arguments = tile
    form, others = (arguments, ()) if isinstance(arguments, str) else (arguments[0], arguments[1:])
    swapped = form[:-4] + _SWAPPED[form[-4:]]
    return type(tile)(*place, swapped if isinstance(arguments, str) else (swapped, *others))
