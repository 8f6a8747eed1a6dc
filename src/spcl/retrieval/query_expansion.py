"""Local query expansion: each encoding becomes the mean of the encodings of its nearest neighbours.

Paper: Zhong et al. (CVPR 2017), section 3.4, with k2 neighbours. The encodings come from ``k_reciprocal.py``. The
mean is computed with a hash table for each row, O(N k), so that no N x N array is made.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray
from scipy.sparse import csr_array

from spcl.compiled import PARALLEL
from spcl.retrieval.compressed_rows import CompressedRows, compressed, pack
from spcl.retrieval.neighbour_tables import checked_table
from spcl.settings_checks import check_count

_ROWS_AT_ONCE = 32768


def average_over_neighbours(encoding: csr_array, neighbours: NDArray[np.integer], *, k2: int) -> csr_array:
    """Expand queries locally: each row becomes the mean of the rows of its first ``k2`` neighbours.

    Args:
        encoding: ``[N, N]`` float32 csr array.
        neighbours: ``[N, k]`` int, nearest first; -1 where there is none.
        k2: Number of neighbours; 1 returns the encoding unchanged, which differs from averaging over the first
            neighbour if that is not the row itself.

    Returns:
        ``[N, N]`` float32 csr array with sorted columns.
    """
    if check_count(k2, "k2") == 1:
        return encoding
    table = checked_table(neighbours)[:, :k2]
    starts, columns, weights = averaged_rows(compressed(encoding), table)
    return csr_array((weights, columns, starts), shape=(len(table), encoding.shape[0]))


def averaged_rows(encoding: CompressedRows, table: NDArray[np.int32]) -> CompressedRows:
    """Compute the mean of some rows of an encoding for each row of a table.

    Args:
        encoding: Rows of an encoding; their columns may be any numbers of 32 bits.
        table: ``[n, k2]`` int32, places of rows in ``encoding``, -1 for none.

    Returns:
        n rows, columns ascending.
    """
    old_indptr, old_indices, data = encoding
    present = table >= 0
    # A mean has at most as many entries as its rows together.
    most = np.where(present, np.diff(old_indptr)[table], 0).sum(axis=1)
    counts = np.zeros(len(table), dtype=np.int64)
    # Allocated for the largest possible size; pages that are never written take no memory.
    columns, weights = np.empty(int(most.sum()), dtype=np.int32), np.empty(int(most.sum()), dtype=np.float32)
    written = 0
    for start in range(0, len(table), _ROWS_AT_ONCE):
        stop = min(start + _ROWS_AT_ONCE, len(table))
        offsets = np.concatenate([[0], np.cumsum(most[start:stop])]).astype(np.int64)
        part_columns = np.empty(int(offsets[-1]), dtype=np.int32)
        part_weights = np.empty(int(offsets[-1]), dtype=np.float32)
        _average(old_indptr, old_indices, data, table[start:stop], offsets, part_columns, part_weights, counts[start:])
        ends = np.cumsum(counts[start:stop])
        before, written = written, written + int(ends[-1])
        pack(part_columns, offsets[:-1], ends, columns[before:written])
        pack(part_weights, offsets[:-1], ends, weights[before:written])
    indptr = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return CompressedRows(indptr, columns[:written], weights[:written])


@njit(cache=True, parallel=PARALLEL)
def _average(indptr, indices, data, table, offsets, columns, weights, counts):  # type: ignore[no-untyped-def]
    """Write the mean of each row's chosen rows from ``offsets[row]``, columns ascending, and its length."""
    for row in prange(len(table)):
        first = offsets[row]
        size = 2
        while size < 2 * (offsets[row + 1] - first):
            size *= 2
        slots = np.full(size, -1, dtype=np.int32)
        sums = weights[first : offsets[row + 1]].copy()
        found, num_found, num_rows = columns[first : offsets[row + 1]], 0, np.float32(0)
        for chosen in table[row]:
            if chosen < 0:
                continue
            num_rows += 1
            for place in range(indptr[chosen], indptr[chosen + 1]):
                at = _slot(slots, found, indices[place])
                if slots[at] == -1:
                    slots[at] = num_found
                    found[num_found] = indices[place]
                    sums[num_found] = 0
                    num_found += 1
                sums[slots[at]] += data[place]
        ordered = np.sort(found[:num_found])
        for place in range(num_found):
            weights[first + place] = sums[slots[_slot(slots, found, ordered[place])]] / num_rows
        found[:num_found] = ordered
        counts[row] = num_found


@njit(cache=True, inline="always")
def _slot(slots, found, value):  # type: ignore[no-untyped-def]
    """Find the slot of a value in a hash table of indices of ``found``, or the free slot for it."""
    mask = len(slots) - 1
    at = (value * np.int32(-1640531527)) & mask
    while slots[at] != -1 and found[slots[at]] != value:
        at = (at + 1) & mask
    return at
