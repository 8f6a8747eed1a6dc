"""Colour images of more than 8 bits a channel, which Pillow reads with their upper 8 bits alone.

Pillow unpacks 16-bit values of either byte order to one byte: the upper one. Unpacked in the other byte order, the same
pixels give the lower byte. Grey images need none of this: Pillow has modes of 16 and 32 bits for them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, ImageOps

from spcl.pixel_range import PixelRange

STRETCHED = "stretched"
"""Key in ``Image.info`` that is True for an image whose values were stretched."""

REDUCED = "reduced"
"""Key in ``Image.info`` that is True for an image that was stretched and could be read with 8 bits a channel only."""

_ENDS = {"L": "B", "B": "L"}
_NATIVE = "L" if sys.byteorder == "little" else "B"
_HEADER_BYTES = 2**16
_END_OF_TIFF = {b"II": "L", b"MM": "B"}
_TIFF_BITS, _TIFF_PLANES = 258, 284
_SEPARATE_PLANES = 2


@dataclass(frozen=True)
class DeepColour:
    """The pixels of an image of more than 8 bits a channel, upright.

    Attributes:
        values: ``[H, W, 3]`` (colour) or ``[H, W]`` (grey with opacity), whole numbers.
        largest: Largest value of the format.
        opacity: ``[H, W]`` uint8, 0 for transparent; None: the image is opaque.
        is_exact: Whether ``values`` have the file's depth; False: Pillow gave their upper 8 bits.
        is_misread: Whether Pillow reads other pixels than those of the file.
    """

    values: NDArray[np.generic]
    largest: float
    opacity: NDArray[np.uint8] | None = None
    is_exact: bool = True
    is_misread: bool = False

    def stretched(self, pixel_range: PixelRange) -> Image.Image | None:
        """Stretch to 8 bits on white ground, with one range for all channels; None: Pillow reads it as well."""
        shown = None if self.opacity is None or not self.opacity.any() else self.opacity > 0
        pixels, is_stretched = pixel_range.to_eight_bits(self.values, self.largest, shown)
        if not is_stretched and not self.is_misread:
            return None
        rgb = Image.fromarray(pixels).convert("RGB")
        if self.opacity is not None:
            white = Image.new("RGB", rgb.size, (255, 255, 255))
            rgb = Image.composite(rgb, white, Image.fromarray(self.opacity))
        rgb.info.update({STRETCHED: is_stretched, REDUCED: is_stretched and not self.is_exact})
        return rgb


def stretched_colour(image: Image.Image, pixel_range: PixelRange) -> Image.Image | None:
    """Stretch a colour image of more than 8 bits a channel, or a grey one of 16 bits with opacity.

    Args:
        image: Image that was opened and whose pixels are not decoded yet.
        pixel_range: Value range of images of more than 8 bits.

    Returns:
        The image as RGB, upright, on white ground; None if it has 8 bits a channel (which costs no reading), is decoded
        already, or uses its range.
    """
    if image.mode not in ("RGB", "RGBA") or image.format not in _READERS or getattr(image, "fp", None) is None:
        return None
    deep = _READERS[image.format](image)
    return None if deep is None else deep.stretched(pixel_range)


def _content(image: Image.Image, length: int = -1) -> bytes:
    """The first bytes of an image's file, or all."""
    file: BinaryIO = image.fp  # type: ignore[attr-defined]
    place = file.tell()
    file.seek(0)
    content = file.read(length)
    file.seek(place)
    return content


def _opened_again(image: Image.Image) -> Image.Image:
    again = Image.open(BytesIO(_content(image)))
    if image.tell():
        again.seek(image.tell())
    return again


def _of_two_bytes(image: Image.Image) -> DeepColour | None:
    """Read PNG and TIFF, whose values of 16 bits Pillow unpacks in the byte order that it is given."""
    raw_modes = [_raw_mode(tile) for tile in _tiles(image)]
    is_misread = False
    if raw_modes == ["LA;16B"]:
        # The unpacker of four bytes keeps both bytes of grey and of opacity.
        grey, grey_low, opacity, _ = np.moveaxis(_unpacked(image, ["RGBA"]), 2, 0)
        return DeepColour(grey.astype(np.uint16) << 8 | grey_low, 65535.0, opacity)
    if raw_modes and image.format == "TIFF" and _has_planes_of_two_bytes(image):
        if ";16" in raw_modes[0]:
            # libtiff's decoder chooses the byte order of separate planes by itself.
            return _of_upper_bits(image, 16)
        if not set(raw_modes) <= set("RGBA"):
            return None
        # Pillow takes uncompressed planes for planes of 8 bits.
        end = _END_OF_TIFF[image.tag_v2.prefix]  # type: ignore[attr-defined]
        raw_modes, is_misread = [f"{raw_mode};16{end}" for raw_mode in raw_modes], True
    orders = {raw_mode[-1] for raw_mode in raw_modes}
    if len(orders) != 1 or not all(raw_mode[-4:-1] == ";16" for raw_mode in raw_modes):
        return None
    # Opacity has been multiplied into these values, which Pillow divides by its upper byte.
    if raw_modes[0].startswith("RGBa"):
        return _of_upper_bits(image, 16)
    order = next(iter(orders)).replace("N", _NATIVE)
    upper = _unpacked(image, [raw_mode[:-1] + order for raw_mode in raw_modes])
    lower = _unpacked(image, [raw_mode[:-1] + _ENDS[order] for raw_mode in raw_modes])
    values = upper[..., :3].astype(np.uint16) << 8 | lower[..., :3]
    opacity = upper[..., 3] if upper.shape[2] == 4 else None
    transparent = image.info.get("transparency")
    if isinstance(transparent, tuple):
        opacity = np.where((values == np.array(transparent)).all(axis=2), 0, 255).astype(np.uint8)
    return DeepColour(values, 65535.0, opacity, is_misread=is_misread)


def _unpacked(image: Image.Image, raw_modes: Sequence[str]) -> NDArray[np.uint8]:
    """Decode an image's file with other orders of the bytes of a pixel; the image itself is left as it is."""
    with _opened_again(image) as again:
        _set_raw_modes(again, raw_modes)
        return np.asarray(ImageOps.exif_transpose(again))


def _has_planes_of_two_bytes(image: Image.Image) -> bool:
    tags = image.tag_v2  # type: ignore[attr-defined]
    return bool(tags.get(_TIFF_PLANES) == _SEPARATE_PLANES and set(np.atleast_1d(tags.get(_TIFF_BITS, 8))) == {16})


def _of_pixmap(image: Image.Image) -> DeepColour | None:
    """Read a binary PPM; the largest value is in its header."""
    tiles = _tiles(image)
    largest = _arguments(tiles[0])[-1] if tiles and tiles[0][0] == "ppm" else 0
    if not isinstance(largest, int) or largest < 256:
        return None
    count = image.width * image.height * 3
    content = _content(image)
    if len(content) < tiles[0][2] + 2 * count:
        raise OSError("image file is truncated")
    values = np.frombuffer(content, dtype=">u2", count=count, offset=tiles[0][2]).astype(np.uint16)
    return DeepColour(values.reshape(image.height, image.width, 3), float(largest))


def _of_heif(image: Image.Image) -> DeepColour | None:
    """Read HEIC with the package that reads it for Pillow; libheif turns it upright."""
    depth = int(image.info.get("bit_depth", 8))
    if depth <= 8:
        return None
    import pillow_heif

    file = pillow_heif.open_heif(BytesIO(_content(image)), convert_hdr_to_8bit=False, hdr_to_16bit=False)
    values, largest = np.asarray(file[image.tell()]), float(2**depth - 1)
    opacity = None if values.shape[2] < 4 else (values[..., 3] * (255 / largest)).round().astype(np.uint8)
    return DeepColour(values[..., :3], largest, opacity)


def _of_avif(image: Image.Image) -> DeepColour | None:
    depth = _avif_depth(_content(image, _HEADER_BYTES))
    return _of_upper_bits(image, depth) if depth > 8 else None


def _of_jpeg2000(image: Image.Image) -> DeepColour | None:
    depth = _jpeg2000_depth(_content(image, _HEADER_BYTES))
    return _of_upper_bits(image, depth) if depth > 8 else None


def _of_upper_bits(image: Image.Image, depth: int) -> DeepColour:
    """Scale the upper 8 bits, all that Pillow gives, to the values of a format of ``depth`` bits."""
    pixels, largest = np.asarray(ImageOps.exif_transpose(image)), float(2**depth - 1)
    values = (pixels[..., :3] * (largest / 255)).round().astype(np.uint32)
    return DeepColour(values, largest, pixels[..., 3] if pixels.shape[2] == 4 else None, is_exact=False)


def _avif_depth(header: bytes) -> int:
    """Bits a channel of AVIF, from its codec configuration box; 8 if there is none."""
    at = header.find(b"av1C")
    flags = header[at + 6] if 0 <= at < len(header) - 6 else 0
    return (12 if flags & 0x20 else 10) if flags & 0x40 else 8


def _jpeg2000_depth(header: bytes) -> int:
    """Bits of the first channel of JPEG 2000, from the size marker of its code stream; 8 if there is none."""
    at = header.find(b"\xff\x4f\xff\x51")
    return (header[at + 42] & 0x7F) + 1 if 0 <= at < len(header) - 42 else 8


def _tiles(image: Image.Image) -> list[Any]:
    """The parts of an image file that is not decoded yet, as (decoder, extent, offset, arguments)."""
    return list(image.tile) if isinstance(image, ImageFile.ImageFile) else []


def _arguments(tile: Any) -> tuple[Any, ...]:
    return tile[3] if isinstance(tile[3], tuple) else (tile[3],)


def _raw_mode(tile: Any) -> str:
    """The order of the bytes of a pixel in the file, for example ``RGB;16B``."""
    return str(_arguments(tile)[0])


def _set_raw_modes(image: Image.Image, raw_modes: Sequence[str]) -> None:
    tiles = []
    for tile, raw_mode in zip(_tiles(image), raw_modes, strict=True):
        arguments = (raw_mode, *tile[3][1:]) if isinstance(tile[3], tuple) else raw_mode
        # Older versions of Pillow have plain tuples.
        tiles.append(tile._replace(args=arguments) if hasattr(tile, "_replace") else (*tile[:3], arguments))
    image.tile = tiles  # type: ignore[attr-defined]


_READERS: dict[str | None, Callable[[Image.Image], DeepColour | None]] = {
    "PNG": _of_two_bytes,
    "TIFF": _of_two_bytes,
    "PPM": _of_pixmap,
    "HEIF": _of_heif,
    "AVIF": _of_avif,
    "JPEG2000": _of_jpeg2000,
}
