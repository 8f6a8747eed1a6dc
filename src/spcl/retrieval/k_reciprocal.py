"""k-reciprocal encoding: each image as a sparse vector over its k-reciprocal neighbours.

Paper: the distance of step 1 of each epoch; Zhong et al., *Re-ranking Person Re-identification with k-reciprocal
Encoding*, CVPR 2017, equations 1 to 8. Here: the sets R(k), their expansion R*(k), the weights over them and the
local query expansion. The distance between encodings is in ``jaccard.py``.

Everything is O(N k): sets are kept as compressed rows (``indptr``, ``indices``), never as N x N arrays.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numba import njit, prange
from numpy.typing import NDArray
from scipy.sparse import csr_array

from spcl.arrays import Features, unit_rows
from spcl.compiled import PARALLEL
from spcl.retrieval.near_order import near_order, renumbered, rows_in_order
from spcl.settings_checks import check_count

_ROWS_AT_ONCE = 32768
_BUFFER_BYTES = 128 * 2**20


class NearEncoding(NamedTuple):
    """Encodings whose rows are in near order (``near_order.py``): neighbours are close in memory.

    Attributes:
        rows: ``[N, N]`` float32 csr array: rows and columns are places; the entries of a row ascend by their names.
        names: ``[N]`` int64, the original row at each place.
        places: ``[N]`` int32, the place of each row.
    """

    rows: csr_array
    names: NDArray[np.int64]
    places: NDArray[np.int32]


def k_reciprocal_encoding(
    features: Features, neighbours: NDArray[np.integer], *, k1: int = 30, k2: int = 6
) -> csr_array:
    """Compute the k-reciprocal encoding of each row.

    Args:
        features: ``[N, D]`` rows; normalised here where they are not of unit length.
        neighbours: ``[N, k]`` int, nearest first, the row itself among them; -1 where there is none.
        k1: Number of neighbours; at most ``k1 + 1`` columns of ``neighbours`` are read, as in the reference.
        k2: Number of first neighbours whose encodings are averaged into each encoding; 1: no averaging.

    Returns:
        ``[N, N]`` float32 csr array, sorted columns; each row sums to 1 (to 0 where a row has no mutual neighbour).

    Reference: ``spcl/utils/faiss_rerank.py: compute_jaccard_distance``.
    """
    near = near_encoding(features, neighbours, k1=k1, k2=k2)
    return rows_in_order(near.rows, near.places, near.names.astype(np.int32))


def near_encoding(features: Features, neighbours: NDArray[np.integer], *, k1: int = 30, k2: int = 6) -> NearEncoding:
    """Compute ``k_reciprocal_encoding`` in near order, in which the next steps are faster."""
    k1, k2 = check_count(k1, "k1"), check_count(k2, "k2")
    rows = unit_rows(features).cpu().numpy()
    if len(neighbours) != len(rows):
        raise ValueError(f"neighbours have {len(neighbours)} rows, features {len(rows)}; they must be equal")
    table = _checked_neighbours(neighbours)
    names, places = near_order(np.arange(len(table) + 1, dtype=np.int64) * table.shape[1], table.reshape(-1))
    near = renumbered(table, names, places)
    indptr, indices = _sets(near, names, k1)
    weights = _softmax_weights(rows, names, indptr, indices)
    encoding = csr_array((weights, indices, indptr), shape=(len(rows), len(rows)))
    encoding = average_over_neighbours(encoding, near, k2=k2)
    columns = places[encoding.indices]
    return NearEncoding(csr_array((encoding.data, columns, encoding.indptr), shape=encoding.shape), names, places)


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
    table = _checked_neighbours(neighbours)
    return _sets(table, np.arange(len(table)), check_count(k1, "k1"))


def _sets(table: NDArray[np.int32], names: NDArray[np.int64], k1: int) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Compute ``reciprocal_sets`` of a checked table; members are given by their names, ascending."""
    num_rows, num_columns = table.shape
    full = min(k1 + 1, num_columns)
    half = min(round(k1 / 2) + 1, num_columns)
    mutual = _mutual(table, full)
    mutual_half = _mutual(table, half)
    widest = full * (1 + half)
    width = min(widest, num_rows)
    rows_at_once = max(1, min(_ROWS_AT_ONCE, _BUFFER_BYTES // (4 * max(1, width))))
    counts = np.zeros(num_rows, dtype=np.int64)
    parts = [np.empty(0, dtype=np.int32)]
    for start in range(0, num_rows, rows_at_once):
        stop = min(start + rows_at_once, num_rows)
        buffer = np.empty((stop - start, width), dtype=np.int32)
        _expand(table, names, mutual, mutual_half, start, buffer, counts)
        ends = np.cumsum(counts[start:stop])
        packed = np.empty(int(ends[-1]), dtype=np.int32)
        _pack(buffer.reshape(-1), np.arange(stop - start) * width, ends, packed)
        parts.append(packed)
    indptr = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return indptr, np.concatenate(parts)


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
    table = _checked_neighbours(neighbours)[:, :k2]
    present = table >= 0
    old_indptr = encoding.indptr.astype(np.int64, copy=False)
    old_indices = encoding.indices.astype(np.int32, copy=False)
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
        _average(
            old_indptr,
            old_indices,
            encoding.data,
            table[start:stop],
            offsets,
            part_columns,
            part_weights,
            counts[start:],
        )
        ends = np.cumsum(counts[start:stop])
        before, written = written, written + int(ends[-1])
        _pack(part_columns, offsets[:-1], ends, columns[before:written])
        _pack(part_weights, offsets[:-1], ends, weights[before:written])
    indptr = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return csr_array((weights[:written], columns[:written], indptr), shape=(len(table), encoding.shape[0]))


def _checked_neighbours(neighbours: NDArray[np.integer] | torch.Tensor) -> NDArray[np.int32]:
    table = np.asarray(neighbours.cpu() if isinstance(neighbours, torch.Tensor) else neighbours)
    if table.ndim != 2 or not np.issubdtype(table.dtype, np.integer):
        raise ValueError(f"neighbours are {table.dtype} of shape {table.shape}; expected integers [N, k]")
    if table.size and (table.max() >= len(table) or table.min() < -1):
        raise ValueError(f"neighbours must be row numbers from 0 to {len(table) - 1}, or -1 for none")
    return np.ascontiguousarray(table, dtype=np.int32)


@njit(cache=True, parallel=PARALLEL)
def _pack(values, starts, ends, packed):  # type: ignore[no-untyped-def]
    """Copy rows that have gaps between them, from ``starts`` on, one after the other: row i ends at ``ends[i]``."""
    for row in prange(len(ends)):
        first = ends[row - 1] if row > 0 else 0
        for at in range(ends[row] - first):
            packed[first + at] = values[starts[row] + at]


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


@njit(cache=True, parallel=PARALLEL, fastmath={"reassoc", "contract"})
def _softmax_weights(features, names, indptr, indices):  # type: ignore[no-untyped-def]
    """Compute the softmax of ``-(2 - 2 cos)`` over each set, which belongs to the row of this name."""
    weights = np.empty(len(indices), dtype=np.float32)
    length = features.shape[1]
    for row in prange(len(indptr) - 1):
        start, stop = indptr[row], indptr[row + 1]
        highest = np.float32(-np.inf)
        for place in range(start, stop):
            other = indices[place]
            product = np.float32(0.0)
            for column in range(length):
                product += features[names[row], column] * features[other, column]
            # The reference's -(2 - 2 cos), with the same rounding steps.
            weights[place] = -(np.float32(2.0) - np.float32(2.0) * product)
            highest = max(highest, weights[place])
        total = np.float32(0.0)
        for place in range(start, stop):
            weights[place] = np.exp(weights[place] - highest)
            total += weights[place]
        for place in range(start, stop):
            weights[place] /= total
    return weights
