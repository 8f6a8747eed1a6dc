"""Encodings of objects: the average of the k-reciprocal encodings of the rows that are known to show one object.

No step of the paper. The neighbours of an object are those of all its rows, and its encoding sums to 1 as that of a
row. One row alone is unchanged, to the bit. Against the least distance of two rows, an average does not join two
objects by one wrong pair among many.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from spcl.retrieval.jaccard import jaccard_of_encoding


def averaged_encoding(encoding: csr_array, nodes: NDArray[np.int64]) -> csr_array:
    """Average encodings over the rows of each object.

    Args:
        encoding: ``[N, N]`` float32 csr array, the encoding of each row.
        nodes: ``[N]`` int64, the object of each row, from 0 without gaps.

    Returns:
        ``[P, N]`` float32 csr array, columns ascending.
    """
    sizes = np.bincount(nodes)
    shares = (1 / sizes[nodes]).astype(np.float32)
    average = csr_array((shares, (nodes, np.arange(len(nodes)))), shape=(len(sizes), len(nodes)))
    mean: csr_array = average @ encoding
    mean.sort_indices()
    return mean


def jaccard_of_objects(encoding: csr_array, nodes: NDArray[np.int64], *, cutoff: float) -> csr_array:
    """Compute the Jaccard distance of the averaged encodings of all pairs of objects, up to a cutoff.

    Args:
        encoding: ``[N, N]`` float32 csr array, the encoding of each row.
        nodes: ``[N]`` int64, the object of each row, from 0 without gaps.
        cutoff: The largest distance that is stored, at least 0 and below 1.

    Returns:
        ``[P, P]`` float32 csr array, stored as by ``jaccard_distance``.

    Cost: as ``jaccard_of_encoding``.
    """
    mean = averaged_encoding(encoding, nodes)
    num, all_rows = mean.shape
    # Rows without an entry fill the array up to a square: they are at distance 1 of every row, and are not stored.
    indptr = np.concatenate([mean.indptr, np.full(all_rows - num, mean.indptr[-1], dtype=mean.indptr.dtype)])
    square = csr_array((mean.data, mean.indices, indptr), shape=(all_rows, all_rows))
    found = jaccard_of_encoding(square, cutoff=cutoff)
    return csr_array((found.data, found.indices, found.indptr[: num + 1]), shape=(num, num))
