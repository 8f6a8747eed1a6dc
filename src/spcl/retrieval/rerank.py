"""k-reciprocal re-ranking of a gallery for given queries, through the same sparse steps as the clustering.

Zhong et al., *Re-ranking Person Re-identification with k-reciprocal Encoding*, CVPR 2017, with the reference's choices
(method: row 20): squared Euclidean distances are squared once more, and each row is divided by its maximum; encodings
weigh a neighbour by ``exp(-that distance)``; ``k1 + 1`` neighbours count. Queries and gallery are one set of M = Q + G
images for this, of which no M x M array is made: neighbours come from the block search (dividing a row by a constant
does not reorder it), and the maxima from a pass of their own.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numba import njit, prange
from numpy.typing import NDArray
from scipy.sparse import csr_array

from spcl.retrieval.k_reciprocal import average_over_neighbours, reciprocal_sets
from spcl.retrieval.neighbours import Features, as_float32, nearest_neighbours

_BLOCK_BYTES = 64 * 2**20


def rerank(
    query: Features,
    gallery: Features,
    *,
    k1: int = 20,
    k2: int = 6,
    lambda_value: float = 0.3,
    progress: Callable[[int, int], None] | None = None,
) -> NDArray[np.float32]:
    """Re-ranked distances.

    Args:
        query: ``[Q, D]`` unit rows.
        gallery: ``[G, D]`` unit rows.
        k1: Neighbours in the k-reciprocal encoding, beside the image itself.
        k2: Neighbours in the local query expansion.
        lambda_value: Share of the original distance in the result, 0 to 1.
        progress: Called with (block products done, in all) of the neighbour search.

    Returns:
        ``[Q, G]`` float32, low is near.

    Raises:
        ValueError: If a setting is out of range or shapes do not fit.

    Cost: the neighbour search over Q + G images; memory for the result and one block.
    Reference: ``spcl/utils/rerank.py: re_ranking``.
    """
    if not 0 <= lambda_value <= 1:
        raise ValueError(f"lambda_value is {lambda_value}; it must lie between 0 and 1")
    if k1 < 1 or k2 < 1:
        raise ValueError(f"k1 is {k1} and k2 is {k2}; both must be at least 1")
    queries, database = as_float32(query, "query"), as_float32(gallery, "gallery").to(as_float32(query, "query").device)
    if queries.shape[1] != database.shape[1]:
        raise ValueError(f"query has {queries.shape[1]} columns, gallery {database.shape[1]}; they must be equal")
    together = torch.cat([queries, database])
    neighbours = nearest_neighbours(together, k1 + 1, progress=progress).indices
    largest = _largest_distance(together)
    indptr, indices = reciprocal_sets(neighbours, k1=k1)
    weights = _weights(together.cpu().numpy(), largest, indptr, indices)
    encoding = csr_array((weights, indices, indptr), shape=(len(together), len(together)))
    encoding = average_over_neighbours(encoding, neighbours, k2=k2)
    result = _jaccard_to_gallery(encoding, len(queries))
    _mix_with_original(result, queries, database, largest, lambda_value)
    return result


def _largest_distance(features: torch.Tensor) -> NDArray[np.float32]:
    """Each row's largest squared distance, squared again, to any row: ``[M]`` float32."""
    height = max(1, _BLOCK_BYTES // (4 * max(1, len(features))))
    smallest = [(features[at : at + height] @ features.T).amin(dim=1) for at in range(0, len(features), height)]
    return np.asarray((2 - 2 * torch.cat(smallest)).square().cpu().numpy(), dtype=np.float32)


def _mix_with_original(
    result: NDArray[np.float32],
    queries: torch.Tensor,
    database: torch.Tensor,
    largest: NDArray[np.float32],
    share: float,
) -> None:
    """Add the share of the original distance, in place and in blocks."""
    height = max(1, _BLOCK_BYTES // (4 * max(1, len(database))))
    for at in range(0, len(queries), height):
        original = (2 - 2 * queries[at : at + height] @ database.T).square().cpu().numpy()
        original /= _not_zero(largest[at : at + len(original)])[:, None]
        result[at : at + height] *= np.float32(1 - share)
        result[at : at + height] += np.float32(share) * original


def _not_zero(largest: NDArray[np.float32]) -> NDArray[np.float32]:
    """All images identical: every distance is 0, and stays 0."""
    return np.where(largest > 0, largest, np.float32(1))


@njit(cache=True, parallel=True, fastmath={"reassoc", "contract"})
def _weights(features, largest, indptr, indices):  # type: ignore[no-untyped-def]
    """``exp(-distance)`` over each row's set, normalised to a sum of 1."""
    weights = np.empty(len(indices), dtype=np.float32)
    for row in prange(len(indptr) - 1):
        start, stop = indptr[row], indptr[row + 1]
        scale = largest[row] if largest[row] > 0 else np.float32(1)
        total = np.float32(0)
        for place in range(start, stop):
            product = np.float32(0)
            for column in range(features.shape[1]):
                product += features[row, column] * features[indices[place], column]
            squared = np.float32(2) - np.float32(2) * product
            weights[place] = np.exp(-(squared * squared) / scale)
            total += weights[place]
        for place in range(start, stop):
            weights[place] /= total
    return weights


def _jaccard_to_gallery(encoding: csr_array, num_queries: int) -> NDArray[np.float32]:
    """Jaccard distance ``[Q, G]`` between the encodings of the queries and of the gallery."""
    gallery_by_column = encoding[num_queries:].tocsc()
    distance: NDArray[np.float32] = _jaccard_rows(
        encoding.indptr.astype(np.int64),
        encoding.indices.astype(np.int32),
        encoding.data,
        gallery_by_column.indptr.astype(np.int64),
        gallery_by_column.indices.astype(np.int32),
        gallery_by_column.data,
        num_queries,
        gallery_by_column.shape[0],
    )
    return distance


@njit(cache=True, parallel=True)
def _jaccard_rows(  # type: ignore[no-untyped-def]
    indptr, indices, data, col_indptr, col_rows, col_data, num_queries, num_gallery
):
    distance = np.zeros((num_queries, num_gallery), dtype=np.float32)
    for query in prange(num_queries):
        overlap = distance[query]
        for place in range(indptr[query], indptr[query + 1]):
            column, own = indices[place], data[place]
            for at in range(col_indptr[column], col_indptr[column + 1]):
                overlap[col_rows[at]] += min(own, col_data[at])
        for image in range(num_gallery):
            common = overlap[image]
            overlap[image] = np.float32(1) - common / (np.float32(2) - common)
    return distance
