"""k-reciprocal re-ranking of a gallery for given queries, through the same sparse steps as the clustering.

Zhong et al., *Re-ranking Person Re-identification with k-reciprocal Encoding*, CVPR 2017, with the reference's choices
(method: row 20): squared Euclidean distances are squared once more, and each row is divided by its maximum; encodings
weigh a neighbour by ``exp(-that distance)``; ``k1 + 1`` neighbours count. Queries and gallery are one set of M = Q + G
images for this, of which no M x M array is made: neighbours come from the block search (dividing a row by a constant
does not reorder it), and the maxima from a pass of their own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numba import njit, prange
from numpy.typing import NDArray
from scipy.sparse import csc_array, csr_array

from spcl.arrays import Features, Progress, unit_rows
from spcl.compiled import PARALLEL
from spcl.neighbours.nearest import neighbours_and_lowest
from spcl.retrieval.compressed_rows import compressed
from spcl.retrieval.matches import RankingLabels
from spcl.retrieval.query_expansion import average_over_neighbours
from spcl.retrieval.ranking import RankingResult, rank_blocks
from spcl.retrieval.reciprocal_sets import reciprocal_sets
from spcl.settings_checks import check_count, check_range

_BLOCK_BYTES = 64 * 2**20


@dataclass(frozen=True)
class RerankSettings:
    """Settings of the re-ranking.

    Attributes:
        k1: Neighbours in the k-reciprocal encoding, beside the image itself, at least 1.
        k2: Neighbours in the local query expansion, at least 1.
        lambda_value: Share of the original distance in the result, 0 to 1.

    Raises:
        ValueError: If a setting is out of range.
    """

    k1: int = 20
    k2: int = 6
    lambda_value: float = 0.3

    def __post_init__(self) -> None:
        """Check the ranges."""
        check_range(self.lambda_value, "lambda_value", 0, 1)
        check_count(self.k1, "k1")
        check_count(self.k2, "k2")


def rerank(
    query: Features,
    gallery: Features,
    *,
    k1: int = 20,
    k2: int = 6,
    lambda_value: float = 0.3,
    progress: Progress | None = None,
) -> NDArray[np.float32]:
    """Compute k-reciprocal re-ranked distances.

    Args:
        query: ``[Q, D]`` rows; normalised here where they are not of unit length.
        gallery: ``[G, D]`` rows; normalised here where they are not of unit length.
        k1: Neighbours in the k-reciprocal encoding, beside the image itself, at least 1; where there are fewer
            images, all of them.
        k2: Neighbours in the local query expansion, at least 1.
        lambda_value: Share of the original distance in the result, 0 to 1.
        progress: Called with (block products done, all block products) of the neighbour search.

    Returns:
        ``[Q, G]`` float32, low is near; always finite.

    Raises:
        ValueError: If a setting is out of range, shapes do not fit, or rows are zero, NaN or infinite.

    Warns:
        UserWarning: If rows are far from unit length.

    Cost: the neighbour search over Q + G images; memory for the result and one block.
    Reference: ``spcl/utils/rerank.py: re_ranking``.
    """
    blocks = reranked_blocks(query, gallery, RerankSettings(k1, k2, lambda_value), progress=progress)
    distance = np.empty((len(query), len(gallery)), dtype=np.float32)
    for at, block in blocks:
        distance[at : at + len(block)] = block
    return distance


def rank_reranked(
    query: Features,
    gallery: Features,
    labels: RankingLabels,
    *,
    settings: RerankSettings | None = None,
    max_rank: int = 50,
    progress: Progress | None = None,
) -> RankingResult:
    """Compute mAP and CMC after re-ranking, in blocks: the Q x G distances are never in memory at once.

    Args:
        query: ``[Q, D]`` rows; normalised here where they are not of unit length.
        gallery: ``[G, D]`` rows; normalised here where they are not of unit length.
        labels: Identities and cameras of Q queries and G gallery images.
        settings: Settings of the re-ranking; None: the defaults.
        max_rank: Length of the CMC.
        progress: Called with (block products done, all block products) of the neighbour search.

    Returns:
        RankingResult: the same as from ``rank_metrics`` of the distances of ``rerank``.

    Raises:
        ValueError: If shapes do not fit, rows are zero, NaN or infinite, or no query has a match.
    """
    chosen = settings or RerankSettings()
    shape = (len(query), len(gallery))
    return rank_blocks(
        lambda: reranked_blocks(query, gallery, chosen, progress=progress), shape, labels, max_rank=max_rank
    )


def reranked_blocks(
    query: Features, gallery: Features, settings: RerankSettings, *, progress: Progress | None = None
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Yield re-ranked distances in blocks, in order: (row of the first query, ``[some queries, G]`` float32).

    The features are checked at once; each block is computed when it is requested.
    """
    queries = unit_rows(query, "query")
    database = unit_rows(gallery, "gallery").to(queries.device)
    if queries.shape[1] != database.shape[1]:
        raise ValueError(f"query has {queries.shape[1]} columns, gallery {database.shape[1]}; they must be equal")
    return _blocks(queries, database, settings, progress)


def _blocks(
    queries: torch.Tensor, database: torch.Tensor, settings: RerankSettings, progress: Progress | None
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    encoding, largest = _encoding(torch.cat([queries, database]), settings, progress)
    gallery_by_column = csc_array(encoding[len(queries) :])
    by_row, by_column = compressed(encoding), compressed(gallery_by_column)
    height = max(1, _BLOCK_BYTES // (4 * max(1, len(database))))
    for at in range(0, len(queries), height):
        stop = min(at + height, len(queries))
        block = np.zeros((stop - at, len(database)), dtype=np.float32)
        _jaccard_rows(by_row, by_column, at, block)
        _mix_with_original(block, queries[at:stop], database, largest[at:stop], settings.lambda_value)
        yield at, block


def _encoding(
    together: torch.Tensor, settings: RerankSettings, progress: Progress | None
) -> tuple[csr_array, NDArray[np.float32]]:
    """Encode queries and gallery as one set, and give each row's largest distance."""
    found, lowest = neighbours_and_lowest(together, settings.k1 + 1, progress=progress)
    # The largest squared distance, squared again.
    largest = np.square(2 - 2 * lowest)
    indptr, indices = reciprocal_sets(found.indices, k1=settings.k1)
    weights = _weights(together.cpu().numpy(), largest, indptr, indices)
    encoding = csr_array((weights, indices, indptr), shape=(len(together), len(together)))
    return average_over_neighbours(encoding, found.indices, k2=settings.k2), largest


def _mix_with_original(
    block: NDArray[np.float32],
    queries: torch.Tensor,
    database: torch.Tensor,
    largest: NDArray[np.float32],
    share: float,
) -> None:
    """Add the share of the original distance, in place."""
    if share == 0:
        return
    original = (2 - 2 * queries @ database.T).square().cpu().numpy()
    original /= _not_zero(largest)[:, None]
    original *= np.float32(share)
    block *= np.float32(1 - share)
    block += original


def _not_zero(largest: NDArray[np.float32]) -> NDArray[np.float32]:
    """Replace a largest distance of 0 (all images identical) by 1, so that distances stay 0."""
    return np.where(largest > 0, largest, np.float32(1))


@njit(cache=True, parallel=PARALLEL, fastmath={"reassoc", "contract"})
def _weights(features, largest, indptr, indices):  # type: ignore[no-untyped-def]
    """Weigh each row's set by ``exp(-distance)``, normalised to a sum of 1."""
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


@njit(cache=True, parallel=PARALLEL)
def _jaccard_rows(by_row, by_column, first, distance):  # type: ignore[no-untyped-def]
    """Write the Jaccard distances of the rows from ``first`` on to the gallery into ``distance``, given as zeros."""
    indptr, indices, data = by_row
    col_indptr, col_rows, col_data = by_column
    for at in prange(distance.shape[0]):
        overlap = distance[at]
        for place in range(indptr[first + at], indptr[first + at + 1]):
            column, own = indices[place], data[place]
            for entry in range(col_indptr[column], col_indptr[column + 1]):
                overlap[col_rows[entry]] += min(own, col_data[entry])
        for image in range(distance.shape[1]):
            common = overlap[image]
            overlap[image] = np.float32(1) - common / (np.float32(2) - common)
