"""A symmetric sparse array from its upper triangle."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.sparse import csr_array


class UpperPairs(NamedTuple):
    """Pairs of rows with the same or later rows, row after row in any order of the rows.

    Attributes:
        starts: ``[N]`` int64, the place of each row's first entry in ``columns`` and ``distances``.
        counts: ``[N]`` int64, the number of entries of each row.
        columns: ``[entries]`` int32, not below the row of the entry, ascending inside a row.
        distances: ``[entries]`` float32.
    """

    starts: NDArray[np.int64]
    counts: NDArray[np.int64]
    columns: NDArray[np.int32]
    distances: NDArray[np.float32]


def mirrored(
    starts: NDArray[np.int64], counts: NDArray[np.int64], columns: NDArray[np.int32], distances: NDArray[np.float32]
) -> csr_array:
    """Build the symmetric array from its upper triangle. SciPy's addition would drop the stored zeros.

    Args:
        starts: ``[N]`` int64, the place of each row's first entry in ``columns`` and ``distances``.
        counts: ``[N]`` int64, the number of entries of each row.
        columns: ``[entries]`` int32, not below the row of the entry, ascending inside a row.
        distances: ``[entries]`` float32.

    Returns:
        ``[N, N]`` float32 csr array with ascending columns.
    """
    num_rows = len(counts)
    indptr = np.concatenate([[0], np.cumsum(_whole_sizes(starts, counts, columns))]).astype(np.int64)
    all_columns = np.empty(int(indptr[-1]), dtype=np.int32)
    all_distances = np.empty(int(indptr[-1]), dtype=np.float32)
    _mirror(starts, counts, columns, distances, indptr, all_columns, all_distances)
    return csr_array((all_distances, all_columns, indptr), shape=(num_rows, num_rows))


@njit(cache=True)
def _whole_sizes(starts, counts, columns):  # type: ignore[no-untyped-def]
    """Count the entries of each row of the symmetric array."""
    sizes = counts.copy()
    for row in range(len(counts)):
        for at in range(starts[row], starts[row] + counts[row]):
            sizes[columns[at]] += columns[at] != row
    return sizes


@njit(cache=True)
def _mirror(starts, counts, columns, distances, indptr, all_columns, all_distances):  # type: ignore[no-untyped-def]
    """Fill the rows in order: the lower part of a row has been written by the rows above it."""
    place = indptr[:-1].copy()
    for row in range(len(counts)):
        for at in range(starts[row], starts[row] + counts[row]):
            column, distance = columns[at], distances[at]
            all_columns[place[row]] = column
            all_distances[place[row]] = distance
            place[row] += 1
            if column != row:
                all_columns[place[column]] = row
                all_distances[place[column]] = distance
                place[column] += 1
