"""k-reciprocal encoding: each image as a sparse vector over its k-reciprocal neighbours.

Paper: the distance of step 1 of each epoch; Zhong et al., *Re-ranking Person Re-identification with k-reciprocal
Encoding*, CVPR 2017, equations 1 to 8. Here: the weights over the sets, and the whole encoding. The sets R(k) and their
expansion R*(k) are in ``reciprocal_sets.py``, the local query expansion is in ``query_expansion.py``, the distance
between encodings in ``jaccard.py``.

Everything is O(N k): sets are kept as compressed rows (``indptr``, ``indices``), never as N x N arrays.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray
from scipy.sparse import csr_array

from spcl.arrays import Features, unit_rows
from spcl.compiled import PARALLEL
from spcl.retrieval.near_order import near_order, renumbered, rows_in_order
from spcl.retrieval.neighbour_tables import checked_table
from spcl.retrieval.query_expansion import average_over_neighbours
from spcl.retrieval.reciprocal_sets import sets_of_table
from spcl.settings_checks import check_count


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

    Raises:
        ValueError: If a setting is out of range, shapes do not fit, or rows are zero, NaN or infinite.

    Cost: O(N k) set operations, and ``D`` flops for each entry.
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
    table = checked_table(neighbours)
    names, places = near_order(np.arange(len(table) + 1, dtype=np.int64) * table.shape[1], table.reshape(-1))
    near = renumbered(table, names, places)
    indptr, indices = sets_of_table(near, names, k1)
    weights = softmax_weights(rows, names, indptr, indices)
    encoding = csr_array((weights, indices, indptr), shape=(len(rows), len(rows)))
    encoding = average_over_neighbours(encoding, near, k2=k2)
    columns = places[encoding.indices]
    return NearEncoding(csr_array((encoding.data, columns, encoding.indptr), shape=encoding.shape), names, places)


@njit(cache=True, parallel=PARALLEL, fastmath={"reassoc", "contract"})
def softmax_weights(features, names, indptr, indices):  # type: ignore[no-untyped-def]
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
