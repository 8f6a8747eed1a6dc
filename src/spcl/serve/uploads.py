"""Images of a request: their number and bytes are checked, then their type and pixels, then they are decoded.

The type is that of the first bytes, whatever the file name and the content type claim. Only decoders of this list are
ever asked.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from spcl.data.image_decoding import image_in_memory, resized
from spcl.errors import InputError, first_line
from spcl.pixel_range import PixelRange
from spcl.serve.failures import RequestError
from spcl.serve.settings import ServeLimits

_MARKS = {
    "JPEG": (b"\xff\xd8\xff",),
    "PNG": (b"\x89PNG\r\n\x1a\n",),
    "BMP": (b"BM",),
    "TIFF": (b"II*\x00", b"MM\x00*"),
}
ENDINGS = {"JPEG": ".jpg", "PNG": ".png", "BMP": ".bmp", "TIFF": ".tif", "WEBP": ".webp"}
"""Ending of the file that keeps an enrolled image, by its type."""

Box = tuple[float, float, float, float]
"""Left, top, width and height in pixels of the upright image."""


@dataclass(frozen=True)
class Upload:
    """An image as a client sent it.

    Attributes:
        data: Bytes of the file.
        name: Name of the file for messages, as the client gave it; it is never a path on this machine.
        box: Part of the image that shows the object; None: all of it.
    """

    data: bytes
    name: str
    box: Box | None = None


@dataclass(frozen=True)
class Decoded:
    """A decoded image.

    Attributes:
        pixels: ``[H, W, 3]`` uint8, resized to the encoder's size.
        image: The image, or the part in the box, upright, as RGB.
        kind: Type of the file: a key of ``ENDINGS``.
    """

    pixels: NDArray[np.uint8]
    image: Image.Image
    kind: str


def kind_of(data: bytes) -> str | None:
    """The type of an image file by its first bytes; None: it is of no accepted type."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    return next((kind for kind, marks in _MARKS.items() if data.startswith(marks)), None)


def decode(upload: Upload, number: int, size: tuple[int, int], pixel_range: PixelRange, limits: ServeLimits) -> Decoded:
    """Decode one image of a request. It runs in a worker thread.

    Args:
        upload: The image.
        number: Number of the image in the request, from 0.
        size: Height and width of the encoder's input.
        pixel_range: Value range of images of more than 8 bits.
        limits: Limits of requests.

    Raises:
        RequestError: If the image is too large, of a type that is not accepted, or damaged; the message names it.
    """
    named = f"image {number} ({upload.name[:80]!r})" if upload.name else f"image {number}"
    if len(upload.data) > limits.image_bytes:
        raise RequestError(
            413, "image-too-large", f"{named} has {len(upload.data)} bytes; at most {limits.image_bytes} are accepted"
        )
    kind = kind_of(upload.data)
    if kind is None:
        raise RequestError(
            415,
            "image-type-not-accepted",
            f"{named} is {'empty' if not upload.data else 'of another type'}; expected {', '.join(ENDINGS)}",
        )
    try:
        image = Image.open(io.BytesIO(upload.data), formats=[kind])
        if image.width * image.height > limits.image_pixels:
            raise RequestError(
                413,
                "too-many-pixels",
                f"{named} has {image.width} x {image.height} pixels; at most {limits.image_pixels} are accepted: send "
                "the crop of the object",
            )
        upright = image_in_memory(image, named, pixel_range)
    except RequestError:
        raise
    except InputError as error:
        raise RequestError(422, error.code, str(error)) from error
    # Decoders raise errors of many types on broken files.
    except Exception as error:
        raise RequestError(422, "unreadable-image", f"{named} cannot be decoded: {first_line(error)}") from error
    if upload.box is not None:
        upright = upright.crop(_whole_box(upload.box, upright, named))
    return Decoded(resized(upright, (size[1], size[0])), upright, kind)


def _whole_box(box: Box, image: Image.Image, named: str) -> tuple[int, int, int, int]:
    """The box in whole pixels, cut at the edges of the image."""
    left, top, width, height = box
    corners = (
        max(0, round(left)),
        max(0, round(top)),
        min(image.width, round(left + width)),
        min(image.height, round(top + height)),
    )
    if corners[0] >= corners[2] or corners[1] >= corners[3]:
        raise RequestError(
            422,
            "empty-box",
            f"the box of {named}, left, top, width, height {list(box)}, has no pixel of its {image.width} x "
            f"{image.height}",
        )
    return corners
