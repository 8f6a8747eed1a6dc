"""An order of rows in which neighbours are close in memory, so that the same work uses the cache.

Beyond some hundred thousand rows, the neighbours of a row are scattered over memory, and reading them takes longer than
computing. Steps that go from rows to their neighbours therefore work on renumbered rows. Sums are added in the original
order, so that results are equal to the bit.
"""

from __future__ import annotations

import numpy as np
from numba import get_num_threads, njit, prange
from numpy.typing import NDArray
from scipy.sparse import csr_array

from spcl.compiled import PARALLEL
from spcl.retrieval.compressed_rows import CompressedRows, compressed

_MOST_PARTS = 8


def near_order(indptr: NDArray[np.int64], indices: NDArray[np.int32]) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Compute an order of the rows of a graph.

    Args:
        indptr: ``[N + 1]`` starts of compressed rows.
        indices: Neighbours of each row; -1 for none.

    Returns:
        ``names [N]`` int64, the row at each place, and ``places [N]`` int32, the place of each row.
    """
    names = _walk(indptr, indices)
    places = np.empty(len(names), dtype=np.int32)
    places[names] = np.arange(len(names), dtype=np.int32)
    return names, places


def renumbered(table: NDArray[np.int32], names: NDArray[np.int64], places: NDArray[np.int32]) -> NDArray[np.int32]:
    """Renumber a table of neighbours: rows and values become places.

    Args:
        table: ``[N, k]`` int32 row numbers, -1 for none.
        names: ``[N]`` int64, the row at each place.
        places: ``[N]`` int32, the place of each row.

    Returns:
        ``[N, k]`` int32, -1 for none.
    """
    near = np.empty_like(table)
    _renumber(table, names, places, near)
    return near


def rows_in_order(
    array: csr_array, order: NDArray[np.integer], calls: NDArray[np.int32] | None = None, *, ascending: bool = False
) -> csr_array:
    """Reorder compressed rows, and renumber their columns.

    Args:
        array: ``[N, N]`` csr array.
        order: ``[N]`` int, the row of ``array`` at each place of the result.
        calls: ``[N]`` int, the number of each column in the result; None: unchanged.
        ascending: Whether to sort the columns of each row; otherwise entries keep their order.
    """
    old = compressed(array)
    starts = np.concatenate([[0], np.cumsum(np.diff(old.starts)[order])]).astype(np.int64)
    new = CompressedRows(starts, np.empty(len(array.indices), dtype=np.int32), np.empty_like(array.data))
    given = np.arange(array.shape[1], dtype=np.int32) if calls is None else calls
    _copy_rows(old, order, given, ascending, new)
    return csr_array((new.values, new.columns, new.starts), shape=array.shape)


def by_column(array: csr_array) -> CompressedRows:
    """Convert rows to columns as ``tocsc`` does, with all threads.

    Args:
        array: ``[N, N]`` csr array.

    Returns:
        The columns: their starts ``[N + 1]``, the row of each entry (ascending inside a column), the values.
    """
    num_rows, num_columns = array.shape
    given = compressed(array)
    # Each thread has separate counters; many threads would cost more memory than they save time.
    num_parts = max(1, min(get_num_threads(), _MOST_PARTS))
    num_entries = int(given.starts[-1])
    bounds = np.searchsorted(given.starts, np.linspace(0, num_entries, num_parts + 1))
    bounds[0], bounds[-1] = 0, num_rows
    rows, values = np.empty(num_entries, dtype=np.int32), np.empty_like(array.data)
    return CompressedRows(_transpose(*given, bounds, num_columns, rows, values), rows, values)


@njit(cache=True, parallel=PARALLEL)
def _copy_rows(old, order, calls, ascending, new):  # type: ignore[no-untyped-def]
    """Copy the row ``order[i]`` of ``old`` to row i of ``new``, whose starts are given; columns are renamed."""
    old_starts, old_columns, old_values = old
    new_starts, new_columns, new_values = new
    for place in prange(len(order)):
        first, last = old_starts[order[place]], old_starts[order[place] + 1]
        start = new_starts[place]
        for at in range(last - first):
            new_columns[start + at] = calls[old_columns[first + at]]
            new_values[start + at] = old_values[first + at]
        if ascending:
            stop = new_starts[place + 1]
            by_column = np.argsort(new_columns[start:stop])
            new_columns[start:stop] = new_columns[start:stop][by_column]
            new_values[start:stop] = new_values[start:stop][by_column]


@njit(cache=True, parallel=PARALLEL)
def _transpose(indptr, indices, data, bounds, num_columns, rows, values):  # type: ignore[no-untyped-def]
    num_parts = len(bounds) - 1
    places = np.zeros((num_parts, num_columns), dtype=np.int64)
    for part in prange(num_parts):
        for at in range(indptr[bounds[part]], indptr[bounds[part + 1]]):
            places[part, indices[at]] += 1
    starts = np.empty(num_columns + 1, dtype=np.int64)
    total = 0
    for column in range(num_columns):
        starts[column] = total
        for part in range(num_parts):
            count = places[part, column]
            places[part, column] = total
            total += count
    starts[num_columns] = total
    for part in prange(num_parts):
        for row in range(bounds[part], bounds[part + 1]):
            for at in range(indptr[row], indptr[row + 1]):
                place = places[part, indices[at]]
                places[part, indices[at]] += 1
                rows[place] = row
                values[place] = data[at]
    return starts


@njit(cache=True)
def _walk(indptr, indices):  # type: ignore[no-untyped-def]
    """Walk over the graph: the neighbours of a row that have no place yet are placed directly after it."""
    num_rows = len(indptr) - 1
    order = np.empty(num_rows, dtype=np.int64)
    stack = np.empty(num_rows, dtype=np.int64)
    is_placed = np.zeros(num_rows, dtype=np.bool_)
    placed = 0
    for seed in range(num_rows):
        if is_placed[seed]:
            continue
        is_placed[seed] = True
        order[placed] = seed
        placed += 1
        stack[0], height = seed, 1
        while height > 0:
            height -= 1
            row = stack[height]
            for at in range(indptr[row], indptr[row + 1]):
                other = indices[at]
                if other >= 0 and not is_placed[other]:
                    is_placed[other] = True
                    order[placed] = other
                    placed += 1
                    stack[height] = other
                    height += 1
    return order


@njit(cache=True, parallel=PARALLEL)
def _renumber(table, names, places, near):  # type: ignore[no-untyped-def]
    for place in prange(len(table)):
        for column in range(table.shape[1]):
            other = table[names[place], column]
            near[place, column] = places[other] if other >= 0 else -1
