"""Expanded k-reciprocal sets: which images are mutual neighbours.

Paper: the distance of step 1 of each epoch; Zhong et al., *Re-ranking Person Re-identification with k-reciprocal
Encoding*, CVPR 2017, equations 1 and 2: the sets R(k) and their expansion R*(k). The weights over a set are in
``k_reciprocal.py``. Sets are compressed rows (``indptr``, ``indices``), never N x N arrays: O(N k).
"""

from __future__ import annotations

import numpy as np
import torch
from numba import njit, prange
from numpy.typing import NDArray

from spcl.compiled import PARALLEL
from spcl.retrieval.compressed_rows import pack
from spcl.retrieval.neighbour_tables import checked_table
from spcl.settings_checks import check_count

_ROWS_AT_ONCE = 32768
_BUFFER_BYTES = 128 * 2**20


def reciprocal_sets(
    neighbours: NDArray[np.integer] | torch.Tensor, *, k1: int
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Compute the expanded k-reciprocal sets R*, equation 2 of the re-ranking paper.

    R(i) holds the neighbours of i that have i among their neighbours. A member's half-size set is added to R(i) if more
    than two thirds of it are in R(i).

    Args:
        neighbours: ``[N, k]`` int, nearest first; -1 where there is none.
        k1: Number of neighbours: R uses the first ``min(k1 + 1, k)`` columns, the half-size sets the first ``round(k1 /
            2) + 1`` (halves to even, as in the reference).

    Returns:
        ``indptr [N + 1]`` int64 and ``indices`` int32, ascending within a row.
    """
    table = checked_table(neighbours)
    return sets_of_table(table, np.arange(len(table)), check_count(k1, "k1"))


def sets_of_table(
    table: NDArray[np.int32], names: NDArray[np.int64], k1: int, num_rows: int | None = None
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Compute ``reciprocal_sets`` of a checked table; members are given by their names, ascending.

    Args:
        table: ``[N, k]`` int32, row numbers of the table, -1 for none.
        names: ``[N]`` int64, the name of each row.
        k1: Number of neighbours.
        num_rows: Only the sets of the first rows are computed; None: of all.
    """
    num_rows, num_columns = len(table) if num_rows is None else num_rows, table.shape[1]
    full = min(k1 + 1, num_columns)
    half = min(round(k1 / 2) + 1, num_columns)
    mutual = _mutual(table, full)
    mutual_half = _mutual(table, half)
    widest = full * (1 + half)
    width = min(widest, len(table))
    rows_at_once = max(1, min(_ROWS_AT_ONCE, _BUFFER_BYTES // (4 * max(1, width))))
    counts = np.zeros(num_rows, dtype=np.int64)
    parts = [np.empty(0, dtype=np.int32)]
    for start in range(0, num_rows, rows_at_once):
        stop = min(start + rows_at_once, num_rows)
        buffer = np.empty((stop - start, width), dtype=np.int32)
        _expand(table, names, mutual, mutual_half, start, buffer, counts)
        ends = np.cumsum(counts[start:stop])
        packed = np.empty(int(ends[-1]), dtype=np.int32)
        pack(buffer.reshape(-1), np.arange(stop - start) * width, ends, packed)
        parts.append(packed)
    indptr = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return indptr, np.concatenate(parts)


@njit(cache=True, parallel=PARALLEL)
def _mutual(table, num_columns):  # type: ignore[no-untyped-def]
    """Give ``[N, num_columns]`` bool: whether the row is among the neighbours of its neighbour."""
    mutual = np.zeros((table.shape[0], num_columns), dtype=np.bool_)
    for row in prange(table.shape[0]):
        for place in range(num_columns):
            other = table[row, place]
            if other < 0:
                continue
            found = False
            for back in range(num_columns):
                found |= table[other, back] == row
            mutual[row, place] = found
    return mutual


@njit(cache=True, parallel=PARALLEL)
def _expand(table, names, mutual, mutual_half, first, out, counts):  # type: ignore[no-untyped-def]
    """Write the expanded set of each row ``first + i``, as ascending names, into ``out[i]``, its size to ``counts``."""
    full, half = mutual.shape[1], mutual_half.shape[1]
    size = 1
    while size < 2 * full * (1 + half):
        size *= 2
    for offset in prange(out.shape[0]):
        row = first + offset
        # Membership by open addressing in a table that fits into the first cache, in place of an array of N marks.
        seen = np.full(size, -1, dtype=np.int32)
        found = out[offset]
        num_found = 0
        core = np.empty(full, dtype=np.int32)
        num_core = 0
        for place in range(full):
            if mutual[row, place]:
                core[num_core] = table[row, place]
                num_core += 1
        ordered = np.sort(core[:num_core])
        for place in range(num_core):
            num_found = _add(seen, found, num_found, core[place])
        for place in range(num_core):
            candidate = core[place]
            members, inside = 0, 0
            for back in range(half):
                if mutual_half[candidate, back]:
                    members += 1
                    other = table[candidate, back]
                    at = np.searchsorted(ordered, other)
                    if at < num_core and ordered[at] == other:
                        inside += 1
            if inside > 2 / 3 * members:
                for back in range(half):
                    if mutual_half[candidate, back]:
                        num_found = _add(seen, found, num_found, table[candidate, back])
        for place in range(num_found):
            found[place] = names[found[place]]
        found[:num_found] = np.sort(found[:num_found])
        counts[row] = num_found


@njit(cache=True, inline="always")
def _add(seen, found, num_found, value):  # type: ignore[no-untyped-def]
    mask = len(seen) - 1
    at = (value * np.int32(-1640531527)) & mask
    while seen[at] != -1:
        if seen[at] == value:
            return num_found
        at = (at + 1) & mask
    seen[at] = value
    found[num_found] = value
    return num_found + 1
