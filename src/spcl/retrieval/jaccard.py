"""Jaccard distance between k-reciprocal encodings, sparse, and exact up to a cutoff.

Paper: the distance that the clusters of each epoch are found on; Zhong et al. (CVPR 2017), equation 10:
``d = 1 - m / (2 - m)`` with m the sum of the minima of two encodings (each sums to 1, so the sum of their maxima is
``2 - m``). Pairs without a common neighbour are at distance 1 and are never stored: only pairs at or below the cutoff
are. A stored zero is the distance of two identical images: never call ``eliminate_zeros``.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import get_num_threads, njit, prange
from numpy.typing import NDArray
from scipy.sparse import csr_array

from spcl.arrays import Features, unit_rows
from spcl.compiled import PARALLEL
from spcl.neighbours.nearest import nearest_neighbours
from spcl.retrieval.compressed_rows import CompressedRows, compressed
from spcl.retrieval.k_reciprocal import NearEncoding, k_reciprocal_encoding, near_encoding
from spcl.retrieval.mirrored import UpperPairs, mirrored
from spcl.retrieval.near_order import by_column, near_order, rows_in_order
from spcl.settings_checks import check_count, check_range

_ROWS_AT_ONCE = 16384
_BLOCK = 64
_BINS = 64
_LIGHT_SHARE = 0.75
"""Largest weight of a row's light entries, as a share of the overlap that a near pair must have. A larger share
leaves more pairs to be summed exactly."""

_ROUNDING = 1e-4
"""Upper bound of the rounding error of sums of weights, which are at most 1; too large only costs a few sums."""


class _Found(NamedTuple):
    """Pairs found by each part: columns and distances ``[parts, capacity]``; the count of each row, ``[N]``."""

    columns: NDArray[np.int32]
    distances: NDArray[np.float32]
    counts: NDArray[np.int64]


def jaccard_distance(
    features: Features,
    *,
    k1: int = 30,
    k2: int = 6,
    cutoff: float = 0.62,
    neighbours: NDArray[np.integer] | None = None,
    nodes: NDArray[np.int64] | None = None,
) -> csr_array:
    """Compute the Jaccard distance of the k-reciprocal encodings of all pairs, up to a cutoff.

    Args:
        features: ``[N, D]`` rows, NumPy or torch; normalised here where they are not of unit length.
        k1: Neighbours in the encoding, the row itself included, at least 1; where there are fewer rows, all of them.
        k2: Neighbours in the local query expansion, at least 1, at most k1 of them; 1: none.
        cutoff: The largest distance that is stored, at least 0 and below 1.
        neighbours: ``[N, k1]`` int, nearest first, the row itself among them; None: computed exactly.
        nodes: ``[N]`` int64, the object of each row, from 0 without gaps, where rows are known to show one object:
            their encodings are averaged, and the distance is that of objects. None: every row is an object.

    Returns:
        ``[N, N]`` float32 csr array (``[P, P]`` of P objects), symmetric, columns ascending. Stored: distance <=
        cutoff, zeros included.

    Raises:
        ValueError: If a setting is out of range, shapes do not fit, or rows are zero, NaN or infinite.

    Warns:
        UserWarning: If rows are far from unit length.

    Examples:
        >>> import numpy as np
        >>> rows = np.array([[1, 0], [1, 0], [0, 1], [0, 1]], dtype=np.float32)
        >>> jaccard_distance(rows, k1=2, k2=1).toarray().round(2) + 0.0
        array([[0., 0., 0., 0.],
               [0., 0., 0., 0.],
               [0., 0., 0., 0.],
               [0., 0., 0., 0.]], dtype=float32)
        >>> jaccard_distance(rows, k1=2, k2=1).nnz  # pairs of the two groups are at distance 1, and not stored
        8

    Cost: the neighbour search, ``N^2 D``; everything after it O(N k).
    Paper: SpCL, section 3.3. Reference: ``spcl/utils/faiss_rerank.py: compute_jaccard_distance``.
    """
    k1, k2 = check_count(k1, "k1"), check_count(k2, "k2")
    check_range(cutoff, "cutoff", 0, 1, below=True)
    rows = unit_rows(features)
    if neighbours is None:
        neighbours = nearest_neighbours(rows, k1).indices
    if nodes is not None:
        from spcl.retrieval.object_encoding import jaccard_of_objects

        return jaccard_of_objects(k_reciprocal_encoding(rows, neighbours, k1=k1, k2=k2), nodes, cutoff=cutoff)
    return jaccard_of_near(near_encoding(rows, neighbours, k1=k1, k2=k2), cutoff=cutoff)


def jaccard_of_encoding(encoding: csr_array, *, cutoff: float) -> csr_array:
    """Compute the Jaccard distance of given encodings, stored as by ``jaccard_distance``.

    Args:
        encoding: ``[N, N]`` float32 csr array, finite, not negative, rows that sum to 1 (or 0).
        cutoff: The largest distance that is stored, at least 0 and below 1.

    Raises:
        ValueError: If the array is not square, or holds a weight that is negative or not finite.
    """
    if encoding.shape[0] != encoding.shape[1]:
        raise ValueError(f"encoding has shape {encoding.shape}; expected a square array")
    if not (np.isfinite(encoding.data) & (encoding.data >= 0)).all():
        raise ValueError("encoding holds weights that are negative or not finite")
    names, places = near_order(encoding.indptr.astype(np.int64), encoding.indices.astype(np.int32))
    return jaccard_of_near(NearEncoding(rows_in_order(encoding, names, places), names, places), cutoff=cutoff)


def jaccard_of_near(encoding: NearEncoding, *, cutoff: float) -> csr_array:
    """Compute the Jaccard distance of encodings in near order (``near_order.py``), stored as by ``jaccard_distance``.

    Cost: the sum over all pairs of the heavy columns they share, halved by the symmetry; then a row's length for each
    pair that these leave. This is prefix filtering as in set-similarity joins: Bayardo et al., *Scaling Up All Pairs
    Similarity Search*, WWW 2007.
    """
    check_range(cutoff, "cutoff", 0, 1, below=True)
    near, names, places = encoding
    # The entries of a row stay in the order of their column numbers, so that sums round in the same way.
    pairs = near_pairs(compressed(near), by_column(near), near.shape[0], cutoff)
    return rows_in_order(mirrored(*pairs), places, names.astype(np.int32), ascending=True)


def near_pairs(by_row: CompressedRows, by_column: CompressedRows, num_rows: int, cutoff: float) -> UpperPairs:
    """Find the pairs of the first rows with themselves and all later rows, up to a cutoff.

    Args:
        by_row: The encodings of N rows; the entries of all rows in one order of the columns, which are below N.
        by_column: The same entries by column, rows ascending inside a column.
        num_rows: Number of first rows.
        cutoff: The largest distance that is found.
    """
    counts = np.zeros(num_rows, dtype=np.int64)
    columns, distances = [np.empty(0, dtype=np.int32)], [np.empty(0, dtype=np.float32)]
    schedule = np.arange(num_rows)
    for start in range(0, num_rows, _ROWS_AT_ONCE):
        rows, bounds = _dealt(schedule[start : start + _ROWS_AT_ONCE], get_num_threads())
        schedule[start : start + _ROWS_AT_ONCE] = rows
        found = _upper_rows((by_row, by_column), rows, bounds, np.float32(cutoff), counts)
        columns += [part_columns for part_columns, _ in found]
        distances += [part_distances for _, part_distances in found]
    starts = np.empty(num_rows, dtype=np.int64)
    starts[schedule] = np.cumsum(counts[schedule]) - counts[schedule]
    return UpperPairs(starts, counts, np.concatenate(columns), np.concatenate(distances))


def _dealt(rows: NDArray[np.int64], num_parts: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Distribute rows over parts in small blocks, and give the parts' bounds: rows of large clusters cost more."""
    part = np.arange(len(rows)) // _BLOCK % num_parts
    bounds = np.concatenate([[0], np.cumsum(np.bincount(part, minlength=num_parts))]).astype(np.int64)
    return rows[np.argsort(part, kind="stable")], bounds


def _upper_rows(
    rows_and_columns: tuple[CompressedRows, CompressedRows],
    rows: NDArray[np.int64],
    bounds: NDArray[np.int64],
    limit: np.float32,
    counts: NDArray[np.int64],
) -> list[tuple[NDArray[np.int32], NDArray[np.float32]]]:
    """Find pairs (row, column >= row) of some rows at or below the limit, as arrays in the order of the rows."""
    num_parts = len(bounds) - 1
    capacity = np.int64(64 * max(1, len(rows) // num_parts + 1))
    while True:
        columns = np.empty((num_parts, capacity), dtype=np.int32)
        distances = np.empty((num_parts, capacity), dtype=np.float32)
        used = _upper_rows_kernel(*rows_and_columns, rows, bounds, limit, _Found(columns, distances, counts))
        if used.max() <= capacity:
            return [
                (columns[part, : used[part]].copy(), distances[part, : used[part]].copy()) for part in range(num_parts)
            ]
        capacity = used.max()


@njit(cache=True, parallel=PARALLEL)
def _upper_rows_kernel(by_row, by_column, rows, bounds, limit, found):  # type: ignore[no-untyped-def]
    """Process each row in two passes: heavy entries give the pairs that can be near, and these are summed exactly.

    A pair at or below the limit overlaps by ``least`` or more. The light entries of a row add at most their own weight
    to an overlap. So the heavy entries of a near pair overlap by at least ``least`` minus that weight.
    """
    starts, indices, data = by_row
    columns, distances, counts = found
    num_rows = len(starts) - 1
    used = np.zeros(len(bounds) - 1, dtype=np.int64)
    capacity = columns.shape[1]
    least = np.float32(2) * (np.float32(1) - limit) / (np.float32(2) - limit)
    for part in prange(len(bounds) - 1):
        overlap = np.zeros(num_rows, dtype=np.float32)
        own = np.zeros(num_rows, dtype=np.float32)
        # A separate mark shows that a row was visited: its overlap may still be 0 if weights underflow.
        is_touched = np.zeros(num_rows, dtype=np.bool_)
        touched = np.empty(num_rows, dtype=np.int32)
        for row in rows[bounds[part] : bounds[part + 1]]:
            start, stop = starts[row], starts[row + 1]
            light, heavy_from, highest = _light_weight(data[start:stop], np.float32(_LIGHT_SHARE) * least)
            heavy = (heavy_from, highest)
            num_touched = _add_overlaps(row, by_row, by_column, heavy, own, overlap, is_touched, touched)
            wanted = least - light - np.float32(_ROUNDING)
            before = used[part]
            for at in range(num_touched):
                other = touched[at]
                is_candidate = overlap[other] >= wanted
                overlap[other] = 0
                is_touched[other] = False
                if not is_candidate:
                    continue
                common = np.float32(0)
                for place in range(starts[other], starts[other + 1]):
                    common += min(own[indices[place]], data[place])
                distance = max(np.float32(0), np.float32(1) - common / (np.float32(2) - common))
                if distance <= limit:
                    if used[part] < capacity:
                        columns[part, used[part]] = other
                        distances[part, used[part]] = distance
                    used[part] += 1
            for place in range(start, stop):
                own[indices[place]] = 0
            counts[row] = used[part] - before
            if used[part] <= capacity:
                order = np.argsort(columns[part, before : used[part]])
                columns[part, before : used[part]] = columns[part, before : used[part]][order]
                distances[part, before : used[part]] = distances[part, before : used[part]][order]
    return used


@njit(cache=True)
def _add_overlaps(row, by_row, by_column, heavy, own, overlap, is_touched, touched):  # type: ignore[no-untyped-def]
    """Write a row to ``own``, and add the overlaps of its heavy entries with the rows from this one on.

    Returns the number of rows that overlap, which are listed in ``touched``.
    """
    heavy_from, highest = heavy
    starts, columns, values = by_row
    column_starts, column_rows, column_values = by_column
    num_touched = 0
    for place in range(starts[row], starts[row + 1]):
        column, weight = columns[place], values[place]
        own[column] = weight
        if _bin(weight, highest) < heavy_from:
            continue
        low, high = column_starts[column], column_starts[column + 1]
        low += np.searchsorted(column_rows[low:high], row)
        for at in range(low, high):
            other = column_rows[at]
            if not is_touched[other]:
                is_touched[other] = True
                touched[num_touched] = other
                num_touched += 1
            overlap[other] += min(weight, column_values[at])
    return num_touched


@njit(cache=True, inline="always")
def _light_weight(weights, most):  # type: ignore[no-untyped-def]
    """Give the summed weight of a row's light entries (at most ``most``), the first heavy bin, and the largest weight.

    It takes one pass over a coarse histogram: sorting each row would take longer than it saves.
    """
    highest = np.float32(0)
    for weight in weights:
        highest = max(highest, weight)
    sums = np.zeros(_BINS, dtype=np.float32)
    for weight in weights:
        sums[_bin(weight, highest)] += weight
    light, heavy_from = np.float32(0), 0
    while heavy_from < _BINS - 1 and light + sums[heavy_from] <= most:
        light += sums[heavy_from]
        heavy_from += 1
    return light, heavy_from, highest


@njit(cache=True, inline="always")
def _bin(weight, highest):  # type: ignore[no-untyped-def]
    # Never outside the histogram, whatever the weight.
    return max(0, min(_BINS - 1, int(weight / highest * np.float32(_BINS)))) if highest > 0 else 0
