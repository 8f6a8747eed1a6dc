"""Decoding of image files to RGB pixels, and the reasons why a file cannot be read.

``image_store.py`` keeps the decoded images of a data set; everything random is in ``augment.py``.
"""

from __future__ import annotations

import contextlib
import errno
import io
import stat
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from spcl.data.deep_colour import STRETCHED, stretched_colour
from spcl.data.image_endings import is_heif, learn_heif, missing_reader
from spcl.data.image_key import shown_path
from spcl.data.stored_images import is_stored, stored_bytes
from spcl.errors import InputError, first_line
from spcl.pixel_range import PixelRange
from spcl.randomness import generator
from spcl.records import Record
from spcl.threads import NumThreads, decoding_threads

_MOST_PIXELS = 89_478_485
"""Number of pixels above which Pillow warns of decompression bombs; crops of one object have far fewer."""

_DEEP_MODES = ("I;16", "I;16L", "I;16B", "I;16N", "I", "F")


class UnreadableImageError(InputError):
    """An image file that cannot be used.

    Attributes:
        path: Path of the image.
        reason: Reason, without the path and the advice that the message adds.
    """

    def __init__(self, path: Path, reason: str, advice: str = "") -> None:
        super().__init__(
            f"cannot read the image {shown_path(path)}: {reason}. Repair or remove it{advice}", code="unreadable-image"
        )
        self.path, self.reason = path, reason


def open_image(path: Path, pixel_range: PixelRange | None = None) -> Image.Image:
    """Read an image as RGB: upright, its first frame, without transparency.

    Args:
        path: Path of the image.
        pixel_range: Value range of images of more than 8 bits; None: ``auto``.

    Raises:
        UnreadableImageError: If the file is missing or is not an image; an ``InputError`` with the path and next step.
    """
    try:
        with identified(path) as image:
            return _to_rgb(image, pixel_range or PixelRange(), first_frame=True)
    # Decoders raise errors of many types on broken files (struct.error, IndexError, MemoryError).
    except Exception as error:
        raise UnreadableImageError(path, _reason(error, path)) from error


def identified(path: Path) -> Image.Image:
    """Open an image file with Pillow: its size and format are known, its pixels are not decoded yet.

    Raises:
        OSError: If it cannot be opened, or is a pipe or a device, which could be waited for without end.
    """
    if is_stored(path):
        content = stored_bytes(path)
        return _identified_as(lambda: Image.open(io.BytesIO(content)), content[8:12])
    mode = path.stat().st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise OSError(errno.EINVAL, "it is a pipe or a device, not a regular file", str(path))
    return _identified_as(lambda: Image.open(path), path)


def _identified_as(opened: Callable[[], Image.Image], place: Path | bytes) -> Image.Image:
    """Open an image, a second time with the reader of HEIC where it is one."""
    try:
        return opened()
    except UnidentifiedImageError:
        if not (is_heif(place) and learn_heif()):
            raise
        return opened()


def image_in_memory(
    image: Image.Image | NDArray[np.uint8], name: str = "the image", pixel_range: PixelRange | None = None
) -> Image.Image:
    """Convert an image in memory as ``open_image`` converts a file: RGB, upright, without transparency.

    Args:
        image: A PIL image of any mode (of several frames, the current one), or uint8 pixels: ``[H, W, 3]`` (RGB),
            ``[H, W, 4]`` (RGB and opacity), ``[H, W]`` or ``[H, W, 1]`` (grey). It is not changed.
        name: Name of the image in error messages.
        pixel_range: Value range of a PIL image of more than 8 bits; None: ``auto``.

    Raises:
        InputError: If the image is of another type, or cannot be decoded.
    """
    if isinstance(image, np.ndarray):
        image = Image.fromarray(_checked_pixels(image, name))
    elif not isinstance(image, Image.Image):
        raise InputError(
            f"{name} is a {type(image).__name__}; expected a path, a PIL image or an array of uint8 [H, W, 3]",
            code="not-an-image",
        )
    try:
        return _to_rgb(image, pixel_range or PixelRange(), first_frame=False)
    except Exception as error:
        raise InputError(f"{name} cannot be used: {_reason(error)}", code="unreadable-image") from error


def resized(image: Image.Image, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Resize an RGB image to ``(width, height)``, bicubic as in the official transforms; ``[H, W, 3]`` uint8."""
    if image.size != size:
        image = image.resize(size, Image.Resampling.BICUBIC)
    return np.asarray(image, dtype=np.uint8)


def check_images(
    records: Sequence[Record],
    *,
    sample: int | None,
    seed: int = 0,
    num_threads: NumThreads = "auto",
    progress: Callable[[int, int], None] | None = None,
) -> list[tuple[Path, str]]:
    """Open images and list those that cannot be read.

    Args:
        records: Records of the images.
        sample: Number of images, drawn at random; None: all.
        seed: Seed of the random draws.
        num_threads: Number of threads that decode; ``auto``: as many as compute; 0: the calling thread decodes.
        progress: Called with (images done, all images).

    Returns:
        Path and reason of each image that cannot be read, in the order of the records.
    """
    rows = np.arange(len(records))
    if sample is not None and sample < len(rows):
        rows = np.sort(generator(seed, "images to check").choice(rows, size=sample, replace=False))
    broken = []
    count = decoding_threads(num_threads)
    # A pool that is given no work starts no thread.
    with ThreadPoolExecutor(max_workers=max(1, count)) as pool:
        paths = [records[row].path for row in rows.tolist()]
        try:
            checked = zip(paths, (pool.map if count else map)(_reason_unreadable, paths), strict=True)
            for done, (path, reason) in enumerate(checked, start=1):
                if reason is not None:
                    broken.append((path, reason))
                if progress is not None:
                    progress(done, len(paths))
        finally:
            # Otherwise Ctrl-C would wait until all images are checked.
            pool.shutdown(wait=False, cancel_futures=True)
    return broken


def _reason_unreadable(path: Path) -> str | None:
    try:
        check_name(path)
        open_image(path)
    except UnreadableImageError as error:
        return error.reason
    return None


def check_name(path: Path) -> None:
    """Check that a path can be written to tables, galleries and pages, which hold text.

    Raises:
        UnreadableImageError: If the path holds bytes that are not UTF-8.
    """
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        reason = "its path is not UTF-8 and cannot be written to a table; rename it (or its folder)"
        raise UnreadableImageError(path, reason) from error


def _reason(error: Exception, path: Path | None = None) -> str:
    """The reason why an image cannot be read, as text."""
    if isinstance(error, FileNotFoundError):
        return "there is no such file"
    if isinstance(error, Image.DecompressionBombWarning | Image.DecompressionBombError):
        return "it is larger than 89 megapixels; crops of one object are expected"
    if isinstance(error, UnidentifiedImageError):
        with contextlib.suppress(OSError):
            if path is not None and path.stat().st_size == 0:
                return "the file is empty"
            if path is not None and (reader := missing_reader(path)):
                return reader
        return "it is not an image, or of a format that Pillow cannot read"
    if isinstance(error, OSError):
        return error.strerror or first_line(error)
    if isinstance(error, ValueError | SyntaxError):
        return first_line(error)
    return f"it cannot be decoded ({type(error).__name__}: {first_line(error)})"


def _checked_pixels(pixels: NDArray[np.uint8], name: str) -> NDArray[np.uint8]:
    """Check pixels and make them contiguous: ``[H, W]``, ``[H, W, 3]`` or ``[H, W, 4]``."""
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    fits = pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] in (3, 4))
    if pixels.dtype != np.uint8 or not fits or 0 in pixels.shape:
        hint = ""
        if pixels.dtype != np.uint8 and fits:
            hint = "; give values from 0 to 255 as uint8"
        elif pixels.ndim == 3 and pixels.shape[0] in (1, 3, 4):
            hint = "; the channels come last"
        raise InputError(
            f"{name} is an array of {pixels.dtype} of shape {list(pixels.shape)}; expected uint8 [H, W, 3] (RGB), "
            f"[H, W, 4] (with opacity) or [H, W] (grey){hint}",
            code="not-an-image",
        )
    return np.ascontiguousarray(pixels)


def _to_rgb(image: Image.Image, pixel_range: PixelRange, *, first_frame: bool) -> Image.Image:
    # Pillow's warning is not turned into an error: warning filters belong to the process, and this runs in threads.
    if image.width * image.height > _MOST_PIXELS:
        raise Image.DecompressionBombError
    image_format = image.format
    if first_frame and getattr(image, "is_animated", False):
        image.seek(0)
    if (colour := stretched_colour(image, pixel_range)) is not None:
        return colour
    stretched = False
    # Broken metadata is no reason to refuse the pixels.
    with contextlib.suppress(Exception):
        image = ImageOps.exif_transpose(image)
    if image.mode in _DEEP_MODES:
        image, stretched = _to_eight_bits(image, image_format, pixel_range)
    if image.mode in ("La", "RGBa"):
        image = image.convert({"La": "LA", "RGBa": "RGBA"}[image.mode])
    # One colour of the palette or of the image may mean transparent.
    if image.mode in ("RGBA", "LA", "PA") or (image.mode in ("1", "L", "P", "RGB") and "transparency" in image.info):
        rgba = image.convert("RGBA")
        ground = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        image = Image.alpha_composite(ground, rgba)
    result = image.convert("RGB")
    result.info[STRETCHED] = stretched
    return result


def _to_eight_bits(image: Image.Image, image_format: str | None, pixel_range: PixelRange) -> tuple[Image.Image, bool]:
    """Convert a grey image of more than 8 bits to 8 bits; Pillow would clip its values."""
    # Older versions of Pillow give a 16-bit PNG the mode "I" of 32-bit images.
    is_sixteen = image.mode.startswith("I;16") or (image.mode == "I" and image_format == "PNG")
    pixels, stretched = pixel_range.to_eight_bits(np.asarray(image), 65535.0 if is_sixteen else None)
    return Image.fromarray(pixels), stretched
