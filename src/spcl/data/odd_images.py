"""Images that spoil groups: too small ones, thumbnails, and copies of others, named so that a user can look at them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from spcl.data.copies import byte_identical, image_sizes, thumbnails
from spcl.data.image_table import ImageTable
from spcl.data.one_image import shown_path
from spcl.errors import InputError


@dataclass(frozen=True)
class OddImages:
    """Images that stay and are worth a look.

    Attributes:
        copies: Each image that equals an earlier one byte for byte, with the earlier one.
        small: Each thumbnail, with its width and height in pixels.
        notes: Both counted, in sentences.
    """

    copies: tuple[tuple[Path, Path], ...]
    small: tuple[tuple[Path, tuple[int, int]], ...]
    notes: tuple[str, ...]

    def rows(self) -> list[tuple[Path, str]]:
        """Path and reason of each, for a table."""
        rows = [(path, f"a copy of {first}") for path, first in self.copies]
        return rows + [(path, f"far smaller than the rest: {width} x {height}") for path, (width, height) in self.small]


def looked_over(table: ImageTable, *, min_size: int = 0) -> tuple[ImageTable, OddImages]:
    """Leave out the images that are too small; name copies and thumbnails among the rest.

    Args:
        table: The images. Their files are opened for their sizes; only files of equal length are read for copies.
        min_size: Images whose shorter side has fewer pixels are left out; 0: none is.

    Returns:
        The images that stay, with the others in ``left_out``, and what is odd among them.

    Raises:
        InputError: If all images are too small.
    """
    sizes = image_sizes([record.path for record in table.records])
    shorter = sizes.min(axis=1)
    # What is no image has no size: reading it reports that.
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
    return table, OddImages(copies, small, tuple(notes))
