"""The images of a list of records, decoded and resized once, read by row number.

Resizing is the only transform that is not random, so it is done once: an image is kept as uint8 pixels of the network's
input size, in memory where the whole set fits, otherwise in a file (``image_cache.py``). Everything random is in
``augment.py``.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from spcl.data.deep_colour import REDUCED, STRETCHED
from spcl.data.image_cache import open_image_cache
from spcl.data.image_decoding import UnreadableImageError, check_name, open_image, resized
from spcl.pixel_range import PixelRange
from spcl.records import Record
from spcl.threads import NumThreads, decoding_threads

OnBroken = Literal["error", "skip"]

_SKIP = ", or leave such images out (spcl train, spcl evaluate: --on-broken skip)"

_MISSING_COLOUR = (124, 116, 104)
"""The colour of an image that is left out: the ImageNet mean, which is zero after normalisation."""


class ReadsImages(Protocol):
    """Images that are read by row number."""

    def __len__(self) -> int: ...

    def read(self, rows: NDArray[np.int64], /) -> NDArray[np.uint8]:
        """Give the images of some rows, ``[len(rows), H, W, 3]`` uint8."""


class ImageStore:
    """The images of a list of records, decoded and resized once, read by row number.

    Args:
        records: Records of the images.
        size: Height and width of the resized images in pixels.
        on_broken: ``error``: an image that cannot be read raises an error; ``skip``: it is added to ``broken``, and its
            pixels are grey.
        memory: Number of bytes; the images are kept in memory if all of them fit.
        cache_dir: Folder of the file that keeps images that do not fit in memory; None: they are decoded each time.
        num_threads: Number of threads that decode; ``auto``: as many as compute; 0: the calling thread decodes.
        arrays: Pixels ``[H, W, 3]`` uint8, by path, of images that are not on disk.
        pixel_range: Value range of images of more than 8 bits: ``auto``, ``full`` or ``LOW:HIGH``, as in
            ``pixel_range.py``.

    Attributes:
        broken: Reason for each image that could not be read, by row number.
        pixel_range: Values of black and white in images of more than 8 bits.
        num_stretched: Number of times that an image of more than 8 bits was decoded and its values stretched.
        num_reduced: Number of times that only the upper 8 bits of the channels of such an image could be read.

    Raises:
        InputError: If the file of the cache does not fit on its disk.
    """

    def __init__(
        self,
        records: Sequence[Record],
        *,
        size: tuple[int, int],
        on_broken: OnBroken = "error",
        memory: int = 4 * 2**30,
        cache_dir: Path | None = None,
        num_threads: NumThreads = "auto",
        arrays: Mapping[Path, NDArray[np.uint8]] | None = None,
        pixel_range: str = "auto",
    ) -> None:
        self._paths = [record.path for record in records]
        self._height, self._width = size
        self._on_broken = on_broken
        self._arrays = arrays or {}
        count = decoding_threads(num_threads)
        self._pool = ThreadPoolExecutor(max_workers=count, thread_name_prefix="decode") if count else None
        self._lock = threading.Lock()
        self.broken: dict[int, str] = {}
        self.num_stretched = self.num_reduced = 0
        self.pixel_range = PixelRange.parse(pixel_range)
        self._kept: NDArray[np.uint8] | None = None
        self._is_kept = np.zeros(len(records), dtype=np.bool_)
        if len(records) * self._height * self._width * 3 <= memory:
            self._kept = np.empty((len(records), *size, 3), dtype=np.uint8)
        elif cache_dir is not None:
            self._kept, self._is_kept = open_image_cache(cache_dir, self._paths, *size, pixel_range)

    def __len__(self) -> int:
        return len(self._paths)

    def read(self, rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Read the images of some rows, ``[len(rows), H, W, 3]`` uint8.

        Raises:
            InputError: If an image cannot be read and broken images are not to be skipped.
        """
        wanted = rows if self._kept is None else np.unique(rows[~self._is_kept[rows]])
        decoded = (map if self._pool is None else self._pool.map)(self._decode, wanted.tolist())
        if self._kept is None:
            images = np.empty((len(rows), self._height, self._width, 3), dtype=np.uint8)
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
                return resized(Image.fromarray(self._arrays[path]), (self._width, self._height))
            check_name(path)
            image = open_image(path, self.pixel_range)
            if image.info.get(STRETCHED):
                with self._lock:
                    self.num_stretched += 1
                    self.num_reduced += bool(image.info.get(REDUCED))
            return resized(image, (self._width, self._height))
        except UnreadableImageError as error:
            if self._on_broken == "error":
                raise UnreadableImageError(path, error.reason, _SKIP) from error
            with self._lock:
                self.broken[row] = error.reason
            return np.full((self._height, self._width, 3), _MISSING_COLOUR, dtype=np.uint8)
