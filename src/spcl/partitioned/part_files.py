"""Arrays on disk, part after part, of which rows are read when they are needed.

A part is a folder of ``.npy`` files. It is written aside and renamed, so that it is there as a whole or not at all: a
killed run goes on behind its last part.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from spcl.atomic_files import cannot_write, flush
from spcl.errors import InputError, first_line
from spcl.leftovers import aside_of, remove, remove_leftovers
from spcl.retrieval.compressed_rows import CompressedRows

NEXT_STEP = "free some space and run the same again: it goes on where it stopped"


def save_arrays(folder: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write arrays into a new folder, which appears with all of them.

    Args:
        folder: Path of the folder; an earlier one is replaced.
        arrays: Arrays by name.

    Raises:
        InputError: If it cannot be written.
    """
    aside = aside_of(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(folder)
        aside.mkdir()
        for name, array in arrays.items():
            np.save(aside / f"{name}.npy", array)
            flush(aside / f"{name}.npy")
        remove(folder)
        aside.replace(folder)
    except OSError as error:
        raise cannot_write(folder, error, NEXT_STEP) from error
    finally:
        remove(aside)


def array_of(file: Path) -> NDArray[Any]:
    """Map a ``.npy`` file into memory, for reading; pages are read from the disk when they are touched.

    Raises:
        InputError: If it is missing or damaged.
    """
    try:
        # An empty array cannot be mapped.
        mapped: NDArray[Any] = np.load(file, mmap_mode="r" if file.stat().st_size > _SMALL else None)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(
            f"{file} cannot be read: {first_line(error)}. Remove its folder, and run the same again",
            code="damaged-file",
        ) from error
    return mapped


_SMALL = 4096


class Parts:
    """The parts of arrays with N rows, ``rows_each`` in each part and fewer in the last.

    Args:
        folder: Folder of the parts.
        num_rows: N.
        rows_each: Rows of a part.
    """

    def __init__(self, folder: Path, num_rows: int, rows_each: int) -> None:
        self.folder, self.num_rows, self.rows_each = folder, num_rows, rows_each
        self._mapped: dict[tuple[int, str], NDArray[Any]] = {}

    def __len__(self) -> int:
        return -(-self.num_rows // self.rows_each)

    def rows(self, part: int) -> range:
        """Give the rows of a part."""
        return range(part * self.rows_each, min((part + 1) * self.rows_each, self.num_rows))

    def missing(self) -> list[int]:
        """List the parts that are not written yet."""
        return [part for part in range(len(self)) if not self._place(part).is_dir()]

    def save(self, part: int, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Write the arrays of a part."""
        save_arrays(self._place(part), arrays)

    def array(self, part: int, name: str) -> NDArray[Any]:
        """Map an array of a part into memory."""
        # A part does not change once it is there; mapped arrays take addresses, and no memory.
        if (part, name) not in self._mapped:
            self._mapped[part, name] = array_of(self._place(part) / f"{name}.npy")
        return self._mapped[part, name]

    def take(self, rows: NDArray[np.int64], name: str) -> NDArray[Any]:
        """Read rows of an array.

        Args:
            rows: ``[n]`` int64, ascending.
            name: Name of the array.
        """
        first = self.array(0, name)
        taken = np.empty((len(rows), *first.shape[1:]), dtype=first.dtype)
        for part, here in self._by_part(rows):
            taken[here] = self.array(part, name)[rows[here] - part * self.rows_each]
        return taken

    def take_compressed(self, rows: NDArray[np.int64]) -> CompressedRows:
        """Read rows of compressed rows, which are stored as ``starts``, ``columns`` and ``values``.

        Args:
            rows: ``[n]`` int64, ascending.
        """
        starts = np.zeros(len(rows) + 1, dtype=np.int64)
        for part, here in self._by_part(rows):
            lengths = np.diff(self.array(part, "starts"))
            starts[here.start + 1 : here.stop + 1] = lengths[rows[here] - part * self.rows_each]
        np.cumsum(starts, out=starts)
        columns, values = np.empty(int(starts[-1]), dtype=np.int32), np.empty(int(starts[-1]), dtype=np.float32)
        for part, here in self._by_part(rows):
            places = self.array(part, "starts")[rows[here] - part * self.rows_each]
            copy_ranges(self.array(part, "columns"), places, starts[here.start : here.stop + 1], columns)
            copy_ranges(self.array(part, "values"), places, starts[here.start : here.stop + 1], values)
        return CompressedRows(starts, columns, values)

    def _by_part(self, rows: NDArray[np.int64]) -> list[tuple[int, slice]]:
        ends = np.searchsorted(rows, np.arange(1, len(self) + 1) * self.rows_each)
        begins = np.concatenate([[0], ends[:-1]])
        bounds = zip(begins.tolist(), ends.tolist(), strict=True)
        return [(part, slice(begin, end)) for part, (begin, end) in enumerate(bounds) if begin < end]

    def _place(self, part: int) -> Path:
        return self.folder / f"{part:06d}"


@njit(cache=True)
def copy_ranges(values, begins, starts, copied):  # type: ignore[no-untyped-def]
    """Copy ranges of values: range i, which begins at ``begins[i]``, to ``copied[starts[i] : starts[i + 1]]``."""
    for row in range(len(begins)):
        for at in range(starts[row + 1] - starts[row]):
            copied[starts[row] + at] = values[begins[row] + at]
