"""A sparse array as three arrays, in which compiled loops read and write it."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray
from scipy.sparse import csc_array, csr_array

from spcl.compiled import PARALLEL


class CompressedRows(NamedTuple):
    """A sparse array, row after row (or column after column).

    Attributes:
        starts: ``[N + 1]`` int64: the entries of row i are ``starts[i]`` to ``starts[i + 1] - 1``.
        columns: ``[entries]`` int32, the column of each entry.
        values: ``[entries]`` the value of each entry.
    """

    starts: NDArray[np.int64]
    columns: NDArray[np.int32]
    values: NDArray[Any]


def compressed(array: csr_array | csc_array) -> CompressedRows:
    """Give the arrays of a csr array, or of the columns of a csc array; no copy is made where the types fit."""
    starts = array.indptr.astype(np.int64, copy=False)
    return CompressedRows(starts, array.indices.astype(np.int32, copy=False), array.data)


@njit(cache=True, parallel=PARALLEL)
def pack(values, starts, ends, packed):  # type: ignore[no-untyped-def]
    """Copy rows that have gaps between them, one directly after the other.

    Args:
        values: One-dimensional array that holds the rows.
        starts: ``[n]`` int64, the place of each row's first value in ``values``.
        ends: ``[n]`` int64, the place in ``packed`` after each row's last value, ascending.
        packed: ``[ends[-1]]``, receives the rows.
    """
    for row in prange(len(ends)):
        first = ends[row - 1] if row > 0 else 0
        for at in range(ends[row] - first):
            packed[first + at] = values[starts[row] + at]
