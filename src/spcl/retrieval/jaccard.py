"""Jaccard distance between k-reciprocal encodings, sparse and exact up to a cutoff.

Paper: the distance that the clusters of each epoch are found on; Zhong et al. (CVPR 2017), equation 10:
``d = 1 - m / (2 - m)`` with m the sum of the minima of two encodings (each sums to 1, so the sum of their maxima is
``2 - m``). Pairs without a common neighbour are at distance 1 and are never stored: only pairs at or below the cutoff
are. A stored zero is a pair of identical images and means something: never call ``eliminate_zeros``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import get_num_threads, njit, prange
from numpy.typing import NDArray
from scipy.sparse import csr_array

from spcl.retrieval.arrays import Features
from spcl.retrieval.k_reciprocal import k_reciprocal_encoding
from spcl.retrieval.neighbours import nearest_neighbours

_ROWS_AT_ONCE = 16384


def jaccard_distance(
    features: Features,
    *,
    k1: int = 30,
    k2: int = 6,
    cutoff: float = 0.62,
    neighbours: NDArray[np.integer] | None = None,
) -> csr_array:
    """Jaccard distance of the k-reciprocal encodings of all pairs, up to a cutoff.

    Args:
        features: ``[N, D]`` unit rows, NumPy or torch.
        k1: Neighbours in the encoding, the row itself included.
        k2: Neighbours in the local query expansion; 1: none.
        cutoff: The largest distance that is stored, below 1.
        neighbours: ``[N, k1]`` int, nearest first, the row itself among them; None: computed exactly.

    Returns:
        ``[N, N]`` float32 csr array, symmetric, columns ascending. Stored: distance <= cutoff, zeros included.

    Raises:
        ValueError: If the cutoff is not in [0, 1) or shapes do not fit.

    Example:
        >>> import numpy as np
        >>> rows = np.array([[1, 0], [1, 0], [0, 1], [0, 1]], dtype=np.float32)
        >>> jaccard_distance(rows, k1=2, k2=1).toarray().round(2) + 0.0
        array([[0., 0., 0., 0.],
               [0., 0., 0., 0.],
               [0., 0., 0., 0.],
               [0., 0., 0., 0.]], dtype=float32)
        >>> jaccard_distance(rows, k1=2, k2=1).nnz  # the pairs across the two groups are at 1: not stored
        8

    Paper: SpCL, section 3.3; Reference: ``spcl/utils/faiss_rerank.py: compute_jaccard_distance``.
    """
    if neighbours is None:
        neighbours = nearest_neighbours(features, k1).indices
    return jaccard_of_encoding(k_reciprocal_encoding(features, neighbours, k1=k1, k2=k2), cutoff=cutoff)


def jaccard_of_encoding(encoding: csr_array, *, cutoff: float) -> csr_array:
    """Jaccard distance of given encodings ``[N, N]`` (rows that sum to 1), as ``jaccard_distance`` stores it.

    Cost: the sum over all pairs of the columns they share, halved by the symmetry.
    """
    if not 0 <= cutoff < 1:
        raise ValueError(f"cutoff is {cutoff}; it must be at least 0 and below 1, where every pair would be stored")
    num_rows = encoding.shape[0]
    by_column = encoding.tocsc()
    limit = np.float32(cutoff)
    counts = np.zeros(num_rows, dtype=np.int64)
    columns, distances = [np.empty(0, dtype=np.int32)], [np.empty(0, dtype=np.float32)]
    rows_and_columns = tuple(
        np.ascontiguousarray(array)
        for array in (
            encoding.indptr.astype(np.int64),
            encoding.indices.astype(np.int32),
            encoding.data,
            by_column.indptr.astype(np.int64),
            by_column.indices.astype(np.int32),
            by_column.data,
        )
    )
    for start in range(0, num_rows, _ROWS_AT_ONCE):
        stop = min(start + _ROWS_AT_ONCE, num_rows)
        found = _upper_rows(rows_and_columns, start, stop, limit, counts)
        columns += [part_columns for part_columns, _ in found]
        distances += [part_distances for _, part_distances in found]
    return _mirrored(counts, np.concatenate(columns), np.concatenate(distances))


def _upper_rows(
    rows_and_columns: tuple[NDArray[Any], ...], start: int, stop: int, limit: np.float32, counts: NDArray[np.int64]
) -> list[tuple[NDArray[np.int32], NDArray[np.float32]]]:
    """Pairs (row, column >= row) at or below the limit, rows ``start`` to ``stop``, as arrays in row order."""
    # More parts than threads: rows of large clusters cost more, and a thread that is done takes the next part.
    num_parts = 2 * get_num_threads()
    bounds = np.linspace(start, stop, num_parts + 1).astype(np.int64)
    capacity = np.int64(64 * max(1, (stop - start) // num_parts + 1))
    while True:
        columns = np.empty((num_parts, capacity), dtype=np.int32)
        distances = np.empty((num_parts, capacity), dtype=np.float32)
        used = _upper_rows_kernel(*rows_and_columns, bounds, limit, columns, distances, counts)  # type: ignore[call-arg]
        if used.max() <= capacity:
            return [
                (columns[part, : used[part]].copy(), distances[part, : used[part]].copy()) for part in range(num_parts)
            ]
        capacity = used.max()


@njit(cache=True, parallel=True)
def _upper_rows_kernel(  # type: ignore[no-untyped-def]
    indptr, indices, data, col_indptr, col_rows, col_data, bounds, limit, columns, distances, counts
):
    num_rows = len(indptr) - 1
    num_parts = len(bounds) - 1
    used = np.zeros(num_parts, dtype=np.int64)
    capacity = columns.shape[1]
    for part in prange(num_parts):
        overlap = np.zeros(num_rows, dtype=np.float32)
        touched = np.empty(num_rows, dtype=np.int32)
        for row in range(bounds[part], bounds[part + 1]):
            num_touched = 0
            for place in range(indptr[row], indptr[row + 1]):
                column, own = indices[place], data[place]
                low, high = col_indptr[column], col_indptr[column + 1]
                low += np.searchsorted(col_rows[low:high], row)
                for at in range(low, high):
                    other = col_rows[at]
                    if overlap[other] == 0:
                        touched[num_touched] = other
                        num_touched += 1
                    overlap[other] += min(own, col_data[at])
            before = used[part]
            for at in range(num_touched):
                other = touched[at]
                common = overlap[other]
                overlap[other] = 0
                distance = max(np.float32(0), np.float32(1) - common / (np.float32(2) - common))
                if distance <= limit:
                    if used[part] < capacity:
                        columns[part, used[part]] = other
                        distances[part, used[part]] = distance
                    used[part] += 1
            counts[row] = used[part] - before
            if used[part] <= capacity:
                order = np.argsort(columns[part, before : used[part]])
                columns[part, before : used[part]] = columns[part, before : used[part]][order]
                distances[part, before : used[part]] = distances[part, before : used[part]][order]
    return used


def _mirrored(counts: NDArray[np.int64], columns: NDArray[np.int32], distances: NDArray[np.float32]) -> csr_array:
    """The whole symmetric array from its upper triangle. SciPy's addition would drop the stored zeros."""
    num_rows = len(counts)
    upper = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    off_diagonal = columns != np.repeat(np.arange(num_rows, dtype=np.int32), counts)
    sizes = counts + np.bincount(columns[off_diagonal], minlength=num_rows)
    indptr = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    all_columns = np.empty(int(indptr[-1]), dtype=np.int32)
    all_distances = np.empty(int(indptr[-1]), dtype=np.float32)
    _mirror(upper, columns, distances, indptr, all_columns, all_distances)
    return csr_array((all_distances, all_columns, indptr), shape=(num_rows, num_rows))


@njit(cache=True)
def _mirror(upper, columns, distances, indptr, all_columns, all_distances):  # type: ignore[no-untyped-def]
    """Rows in order: when a row is reached, the rows above have already written all of its lower part."""
    place = indptr[:-1].copy()
    for row in range(len(upper) - 1):
        for at in range(upper[row], upper[row + 1]):
            column, distance = columns[at], distances[at]
            all_columns[place[row]] = column
            all_distances[place[row]] = distance
            place[row] += 1
            if column != row:
                all_columns[place[column]] = row
                all_distances[place[column]] = distance
                place[column] += 1
