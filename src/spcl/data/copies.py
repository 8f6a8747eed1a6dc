"""Copies and thumbnails: images of equal bytes, and images far smaller than the rest."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spcl.data.images import identified

_FAR_SMALLER = 4.0
"""A thumbnail has sides of less than a quarter of the usual: a sixteenth of the pixels."""
_FEW = 0.2
"""Thumbnails are the exception: where more images than this share are small, images differ in size."""


def byte_identical(paths: Sequence[Path]) -> dict[int, int]:
    """Images whose bytes equal those of an earlier one: the row of each, and the row of the first.

    Only files of equal size are read. A file that cannot be read is no copy.
    """
    by_size: dict[int, list[int]] = {}
    for row, path in enumerate(paths):
        try:
            by_size.setdefault(path.stat().st_size, []).append(row)
        except OSError:
            continue
    copies: dict[int, int] = {}
    for size, rows in by_size.items():
        if len(rows) == 1 or size == 0:
            continue
        first_of: dict[bytes, int] = {}
        for row in rows:
            try:
                with paths[row].open("rb") as file:
                    digest = _digest(file.read)
            except OSError:
                continue
            if first_of.setdefault(digest, row) != row:
                copies[row] = first_of[digest]
    return copies


def image_sizes(paths: Sequence[Path]) -> NDArray[np.int64]:
    """Width and height of images in pixels, ``[N, 2]`` int64, from the heads of their files; 0 for what is no image."""
    sizes = np.zeros((len(paths), 2), dtype=np.int64)
    for row, path in enumerate(paths):
        try:
            with identified(path) as image:
                sizes[row] = image.size
        # Decoders raise what they like on broken files; reading them reports it.
        except Exception:
            continue
    return sizes


def thumbnails(sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """The rows of images that are far smaller than the rest: less than a sixteenth of the median's pixels.

    Where that holds for more than a fifth of the images, they differ in size, and none is a thumbnail.

    Args:
        sizes: Sizes of the images, from ``image_sizes``.
    """
    areas = sizes.prod(axis=1)
    known = areas > 0
    if not known.any():
        return np.zeros(0, dtype=np.int64)
    small = known & (areas * _FAR_SMALLER**2 < np.median(areas[known]))
    return np.flatnonzero(small) if small.sum() <= _FEW * known.sum() else np.zeros(0, dtype=np.int64)


def _digest(read: Callable[[int], bytes]) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    while part := read(2**20):
        digest.update(part)
    return digest.digest()
