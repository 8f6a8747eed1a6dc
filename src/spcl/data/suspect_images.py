"""Images that may spoil groups: too small ones, thumbnails, and copies of others, listed for the user to check."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spcl.data.byte_identical import byte_identical
from spcl.data.image_decoding import identified
from spcl.data.image_key import shown_path
from spcl.data.image_table import ImageTable
from spcl.errors import InputError

_FAR_SMALLER = 4.0
"""A thumbnail has sides of less than a quarter of the usual length: a sixteenth of the pixels."""
_FEW = 0.2
"""Largest share of thumbnails; if more images are small, the sizes of the images simply differ."""


@dataclass(frozen=True)
class SuspectImages:
    """Images that are kept and should be checked by the user.

    Attributes:
        copies: Path of each image that equals an earlier one byte for byte, and path of the earlier one.
        small: Path of each thumbnail, with its width and height in pixels.
        notes: Numbers of copies and of thumbnails, in sentences.
    """

    copies: tuple[tuple[Path, Path], ...]
    small: tuple[tuple[Path, tuple[int, int]], ...]
    notes: tuple[str, ...]

    def rows(self) -> list[tuple[Path, str]]:
        """Give path and reason of each image, for a table."""
        rows = [(path, f"a copy of {first}") for path, first in self.copies]
        return rows + [(path, f"far smaller than the rest: {width} x {height}") for path, (width, height) in self.small]


def without_small_images(table: ImageTable, *, min_size: int = 0) -> tuple[ImageTable, SuspectImages]:
    """Leave out images that are too small, and find copies and thumbnails among the others.

    Args:
        table: Table of the images. Headers of all files are read, and files of equal length as a whole.
        min_size: Least number of pixels of the shorter side; images below it are left out. 0: no image is left out.

    Returns:
        The images that are kept, with the others in ``left_out``, and the copies and thumbnails among them.

    Raises:
        InputError: If all images are too small.
    """
    sizes = image_sizes([record.path for record in table.records])
    shorter = sizes.min(axis=1)
    # A file that is not an image has no size; reading it reports that.
    is_small = (shorter > 0) & (shorter < min_size)
    if is_small.any():
        if is_small.all():
            raise InputError(
                f"all {len(table)} images are smaller than --min-size {min_size}; the largest has a shorter side of "
                f"{shorter.max()} pixels",
                code="no-images",
            )
        gone = np.flatnonzero(is_small)
        reasons = tuple(
            (table.records[row].path, f"{sizes[row][0]} x {sizes[row][1]} pixels, smaller than --min-size {min_size}")
            for row in gone.tolist()
        )
        note = f"{len(gone)} image(s) are smaller than --min-size {min_size} and are left out"
        kept = np.flatnonzero(~is_small)
        table = replace(table.rows(kept.tolist()), left_out=(*table.left_out, *reasons), notes=(*table.notes, note))
        sizes = sizes[kept]
    paths = [record.path for record in table.records]
    copies = tuple((paths[row], paths[first]) for row, first in sorted(byte_identical(paths).items()))
    small = tuple((paths[row], (int(sizes[row][0]), int(sizes[row][1]))) for row in thumbnails(sizes).tolist())
    notes = []
    if copies:
        path, first = copies[0]
        notes.append(
            f"{len(copies)} image(s) are copies of others, byte for byte, first {shown_path(path)}, of "
            f"{shown_path(first)}; --duplicates first leaves them out"
        )
    if small:
        path, (width, height) = small[0]
        notes.append(
            f"{len(small)} image(s) are far smaller than the rest, first {shown_path(path)} ({width} x {height}); "
            "--min-size PIXELS leaves them out"
        )
    return table, SuspectImages(copies, small, tuple(notes))


def image_sizes(paths: Sequence[Path]) -> NDArray[np.int64]:
    """Read width and height of images in pixels, ``[N, 2]`` int64, from their headers; 0 for unreadable files."""
    sizes = np.zeros((len(paths), 2), dtype=np.int64)
    for row, path in enumerate(paths):
        try:
            with identified(path) as image:
                sizes[row] = image.size
        # Decoders raise errors of many types on broken files; reading them reports it.
        except Exception:
            continue
    return sizes


def thumbnails(sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Find images with less than a sixteenth of the median number of pixels.

    If more than a fifth of the images are so small, the sizes simply differ, and no image is a thumbnail.

    Args:
        sizes: Sizes of the images, from ``image_sizes``.
    """
    areas = sizes.prod(axis=1)
    known = areas > 0
    if not known.any():
        return np.zeros(0, dtype=np.int64)
    small = known & (areas * _FAR_SMALLER**2 < np.median(areas[known]))
    return np.flatnonzero(small) if small.sum() <= _FEW * known.sum() else np.zeros(0, dtype=np.int64)
