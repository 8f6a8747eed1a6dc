"""From records to decoded, resized images, and their cache.

Resizing is the only transform that is not random, so it is done once: an image is kept as uint8 pixels of the size the
network sees, in memory where the whole set fits, otherwise in a file (``image_cache.py``). Everything random is in
``augment.py``.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from spcl.data.image_cache import open_image_cache
from spcl.data.image_formats import is_heif, learn_heif, missing_reader
from spcl.errors import InputError, first_line
from spcl.pixel_range import PixelRange
from spcl.randomness import generator
from spcl.records import Record
from spcl.threads import NumThreads, decoding_threads

OnBroken = Literal["error", "skip"]

_SKIP = ", or leave such images out (spcl train, spcl evaluate: --on-broken skip)"

_MISSING_COLOUR = (124, 116, 104)
"""The ImageNet mean: what a left-out image looks like, zero after normalisation."""

_MOST_PIXELS = 89_478_485
"""Above it Pillow warns of decompression bombs; crops of one object are far below."""

_DEEP_MODES = ("I;16", "I;16L", "I;16B", "I;16N", "I", "F")
_STRETCHED = "stretched"
"""Marks, in ``Image.info``, an image whose values were stretched to a range of its own."""


class UnreadableImageError(InputError):
    """An image file that cannot be used.

    Attributes:
        path: Path of the image.
        reason: Why, without the path and the advice that the message adds.
    """

    def __init__(self, path: Path, reason: str, advice: str = "") -> None:
        super().__init__(f"cannot read the image {path}: {reason}. Repair or remove it{advice}")
        self.path, self.reason = path, reason


class ImageStore:
    """The images of a list of records, decoded and resized once, read by row number.

    Args:
        records: Records of the images.
        height: Height of the resized images in pixels.
        width: Width of the resized images in pixels.
        on_broken: ``error``: an image that cannot be read raises; ``skip``: it is noted in ``broken`` and is grey.
        memory: Keep the images in memory when all of them fit into so many bytes.
        cache_dir: Otherwise, the folder of a file that keeps them; None: they are decoded each time.
        num_threads: Number of threads that decode; ``auto``: as many as compute; 0: the calling thread decodes.
        arrays: Images that are not on disk: ``[H, W, 3]`` uint8 by path.
        pixel_range: ``auto``, ``full`` or ``LOW:HIGH``: see ``pixel_range.py``.

    Attributes:
        broken: Row numbers of the images that could not be read, and why.
        pixel_range: Values of black and white in images of more than 8 bits.
        num_stretched: Images of more than 8 bits whose values were stretched, as often as they were decoded.

    Raises:
        InputError: If the file does not fit on its disk.
    """

    def __init__(
        self,
        records: Sequence[Record],
        *,
        height: int,
        width: int,
        on_broken: OnBroken = "error",
        memory: int = 4 * 2**30,
        cache_dir: Path | None = None,
        num_threads: NumThreads = "auto",
        arrays: Mapping[Path, NDArray[np.uint8]] | None = None,
        pixel_range: str = "auto",
    ) -> None:
        self._paths = [record.path for record in records]
        self._size = (width, height)
        self._on_broken = on_broken
        self._arrays = arrays or {}
        count = decoding_threads(num_threads)
        self._pool = ThreadPoolExecutor(max_workers=count, thread_name_prefix="decode") if count else None
        self._lock = threading.Lock()
        self.broken: dict[int, str] = {}
        self.num_stretched = 0
        self.pixel_range = PixelRange.parse(pixel_range)
        self._kept: NDArray[np.uint8] | None = None
        self._is_kept = np.zeros(len(records), dtype=np.bool_)
        if len(records) * height * width * 3 <= memory:
            self._kept = np.empty((len(records), height, width, 3), dtype=np.uint8)
        elif cache_dir is not None:
            self._kept, self._is_kept = open_image_cache(cache_dir, self._paths, height, width, pixel_range)

    def __len__(self) -> int:
        return len(self._paths)

    def read(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """The images of some rows, ``[len(rows), H, W, 3]`` uint8.

        Raises:
            InputError: If one cannot be read and broken images are not to be skipped.
        """
        width, height = self._size
        wanted = rows if self._kept is None else np.unique(rows[~self._is_kept[rows]])
        decoded = (map if self._pool is None else self._pool.map)(self._decode, wanted.tolist())
        if self._kept is None:
            images = np.empty((len(rows), height, width, 3), dtype=np.uint8)
            for at, image in enumerate(decoded):
                images[at] = image
            return images
        for row, image in zip(wanted.tolist(), decoded, strict=True):
            self._kept[row] = image
            # Pixels before the mark, so that a stop leaves no mark without pixels; a broken image is tried again.
            self._is_kept[row] = row not in self.broken
        return np.asarray(self._kept[rows])

    def _decode(self, row: int) -> NDArray[np.uint8]:
        path = self._paths[row]
        try:
            if path in self._arrays:
                return resized(Image.fromarray(self._arrays[path]), self._size)
            _check_name(path)
            image = open_image(path, self.pixel_range)
            if image.info.get(_STRETCHED):
                with self._lock:
                    self.num_stretched += 1
            return resized(image, self._size)
        except UnreadableImageError as error:
            if self._on_broken == "error":
                raise UnreadableImageError(path, error.reason, _SKIP) from error
            with self._lock:
                self.broken[row] = error.reason
            return np.full((self._size[1], self._size[0], 3), _MISSING_COLOUR, dtype=np.uint8)


def open_image(path: Path, pixel_range: PixelRange | None = None) -> Image.Image:
    """An image as RGB: upright, its first frame, without transparency; more than 8 bits as ``pixel_range.py`` says.

    Raises:
        UnreadableImageError: If it is not there or is no image; an ``InputError`` that names the file and what to do.
    """
    try:
        with identified(path) as image:
            return _to_rgb(image, pixel_range or PixelRange(), first_frame=True)
    # Decoders raise what they like on broken files (struct.error, IndexError, MemoryError): none may end a long job.
    except Exception as error:
        raise UnreadableImageError(path, _reason(error, path)) from error


def identified(path: Path) -> Image.Image:
    """An image file as Pillow opens it: its size and kind are known, its pixels are not decoded yet."""
    try:
        return Image.open(path)
    except UnidentifiedImageError:
        if not (is_heif(path) and learn_heif()):
            raise
        return Image.open(path)


def image_in_memory(
    image: Image.Image | NDArray[np.uint8], name: str = "the image", pixel_range: PixelRange | None = None
) -> Image.Image:
    """An image that is no file, as ``open_image`` would give it: RGB, upright, without transparency.

    Args:
        image: A PIL image of any mode (of several frames, the one it stands at), or uint8 pixels: ``[H, W, 3]`` (RGB),
            ``[H, W, 4]`` (RGB and opacity), ``[H, W]`` or ``[H, W, 1]`` (grey). It is not changed.
        name: What an error calls it.
        pixel_range: Value range of a PIL image of more than 8 bits; None: ``auto``.

    Raises:
        InputError: If it is something else, or cannot be decoded.
    """
    if isinstance(image, np.ndarray):
        image = Image.fromarray(_checked_pixels(image, name))
    elif not isinstance(image, Image.Image):
        raise InputError(
            f"{name} is a {type(image).__name__}; expected a path, a PIL image or an array of uint8 [H, W, 3]"
        )
    try:
        return _to_rgb(image, pixel_range or PixelRange(), first_frame=False)
    except Exception as error:
        raise InputError(f"{name} cannot be used: {_reason(error)}") from error


def resized(image: Image.Image, size: tuple[int, int]) -> NDArray[np.uint8]:
    """An RGB image at ``(width, height)``, bicubic as the official transforms, ``[H, W, 3]`` uint8."""
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
    """Open images and say which cannot be read.

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
            # Otherwise Ctrl-C would wait until all are checked.
            pool.shutdown(wait=False, cancel_futures=True)
    return broken


def _reason_unreadable(path: Path) -> str | None:
    try:
        _check_name(path)
        open_image(path)
    except UnreadableImageError as error:
        return error.reason
    return None


def _check_name(path: Path) -> None:
    """Tables, galleries and pages hold text: an image whose name is none could not be named in any of them.

    Raises:
        UnreadableImageError: If the path holds bytes that are no UTF-8.
    """
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        reason = "its path is not UTF-8, so that no table could name it; rename it (or its folder)"
        raise UnreadableImageError(path, reason) from error


def _reason(error: Exception, path: Path | None = None) -> str:
    """Why an image cannot be read, in words."""
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
        return "it is not an image, or of a kind that Pillow does not know"
    if isinstance(error, OSError):
        return error.strerror or first_line(error)
    if isinstance(error, ValueError | SyntaxError):
        return first_line(error)
    return f"it cannot be decoded ({type(error).__name__}: {first_line(error)})"


def _checked_pixels(pixels: NDArray[np.uint8], name: str) -> NDArray[np.uint8]:
    """Pixels that Pillow takes: contiguous ``[H, W]``, ``[H, W, 3]`` or ``[H, W, 4]``."""
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
            f"[H, W, 4] (with opacity) or [H, W] (grey){hint}"
        )
    return np.ascontiguousarray(pixels)


def _to_rgb(image: Image.Image, pixel_range: PixelRange, *, first_frame: bool) -> Image.Image:
    # Not by turning Pillow's warning into an error: warning filters belong to the process, this to a thread.
    if image.width * image.height > _MOST_PIXELS:
        raise Image.DecompressionBombError
    image_format = image.format
    if first_frame and getattr(image, "is_animated", False):
        image.seek(0)
    # Broken metadata is no reason to refuse the pixels.
    with contextlib.suppress(Exception):
        image = ImageOps.exif_transpose(image)
    if image.mode in _DEEP_MODES:
        image = _to_eight_bits(image, image_format, pixel_range)
    if image.mode in ("La", "RGBa"):
        image = image.convert({"La": "LA", "RGBa": "RGBA"}[image.mode])
    # A colour of the palette, or one colour of all, may be the transparent one.
    if image.mode in ("RGBA", "LA", "PA") or (image.mode in ("1", "L", "P", "RGB") and "transparency" in image.info):
        rgba = image.convert("RGBA")
        ground = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        return Image.alpha_composite(ground, rgba).convert("RGB")
    return image.convert("RGB")


def _to_eight_bits(image: Image.Image, image_format: str | None, pixel_range: PixelRange) -> Image.Image:
    """A grey image of more than 8 bits as one of 8: Pillow clips instead."""
    # Older Pillows give 16-bit PNG the mode of 32-bit images, "I", which also holds fewer bits than it could.
    is_sixteen = image.mode.startswith("I;16") or (image.mode == "I" and image_format == "PNG")
    pixels, stretched = pixel_range.to_eight_bits(np.asarray(image), 65535.0 if is_sixteen else None)
    grey = Image.fromarray(pixels)
    grey.info[_STRETCHED] = stretched
    return grey
