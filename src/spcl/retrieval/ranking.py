"""Quality of a ranking of the gallery for each query: mean average precision and CMC, under named protocols.

Memory is bounded: queries are taken in blocks, and only the ranks of the true matches are computed, by counting the
gallery images before them. No Q x G array is sorted. Of equal distances, the gallery image with the lower row is first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from spcl.arrays import Features, Progress, require_real, unit_rows
from spcl.retrieval.matches import PROTOCOLS, RankingLabels, places_of_matches
from spcl.settings_checks import check_count
from spcl.short_repr import with_short_repr

__all__ = [
    "PROTOCOLS",
    "RankingResult",
    "SharedQueries",
    "average_results",
    "rank_blocks",
    "rank_features",
    "rank_metrics",
]

_BLOCK_BYTES = 64 * 2**20


@with_short_repr
@dataclass(frozen=True)
class RankingResult:
    """The quality of a ranking.

    Attributes:
        mean_ap: Mean average precision over the valid queries, a fraction.
        cmc: ``[max_rank]`` float64: share of valid queries with a match among the first 1, 2, ... gallery images.
        per_query_ap: ``[Q]`` float64, the average precision of each query; nan for a query without a match in the
            gallery.
        protocol: Name of the evaluation protocol.
        num_valid_queries: Number of queries that have a match.
        first_match: ``[Q]`` int64, the rank of each query's nearest match, from 1; 0 for a query without a match.
        num_matches: ``[Q]`` int64, number of gallery images that match each query and count under the protocol.
    """

    mean_ap: float
    cmc: NDArray[np.float64]
    per_query_ap: NDArray[np.float64]
    protocol: str
    num_valid_queries: int
    first_match: NDArray[np.int64]
    num_matches: NDArray[np.int64]

    def top(self, rank: int) -> float:
        """Give the share of valid queries with a match among the first ``rank`` gallery images."""
        return float(self.cmc[min(rank, len(self.cmc)) - 1])


@dataclass(frozen=True)
class SharedQueries:
    """The queries of one process, where several processes rank the same gallery.

    Attributes:
        part: Rows of the queries that this process rates.
        join: Collects the figures of the processes: takes those of this process, ``[len(part), 2]`` float64, and gives
            those of all queries, ``[Q, 2]``, on every process.
    """

    part: range
    join: Callable[[NDArray[np.float64]], NDArray[np.float64]]


def rank_metrics(
    distance: ArrayLike | torch.Tensor,
    query_ids: ArrayLike,
    gallery_ids: ArrayLike,
    query_cameras: ArrayLike | None = None,
    gallery_cameras: ArrayLike | None = None,
    *,
    max_rank: int = 50,
    protocol: str = "market1501",
) -> RankingResult:
    """Compute mAP and CMC of given distances.

    Args:
        distance: ``[Q, G]`` distances of queries to gallery images; low is near.
        query_ids: ``[Q]`` identities of the queries; a query of identity -1 (unknown) is left out.
        gallery_ids: ``[G]`` identities of the gallery images; an image of identity -1 (unknown) matches no query, and
            counts as a wrong match where it is ranked.
        query_cameras: ``[Q]`` cameras of the queries; may be None if the protocol does not use cameras.
        gallery_cameras: ``[G]`` cameras of the gallery images; may be None if the protocol does not use cameras.
        max_rank: Length of the CMC.
        protocol: Evaluation protocol, one of ``PROTOCOLS``.

    Returns:
        RankingResult: mAP and CMC, and the figures of each query.

    Raises:
        ValueError: If shapes do not fit, a distance is NaN or no real number, the protocol is unknown or needs cameras
            that are not known, or no query has a match.

    Examples:
        >>> result = rank_metrics([[0.1, 0.3, 0.2]], [7], [7, 7, 8], [0], [1, 1, 1])
        >>> round(result.mean_ap, 4), result.top(1)
        (0.8333, 1.0)

    Reference: ``spcl/evaluation_metrics/ranking.py``.
    """
    labels = RankingLabels.checked(query_ids, gallery_ids, query_cameras, gallery_cameras, protocol=protocol)
    array = distance.detach().cpu() if isinstance(distance, torch.Tensor) else np.asarray(distance)
    require_real(array, "distance")
    height = max(1, _BLOCK_BYTES // max(1, 8 * (array.shape[1] if array.ndim == 2 else 1)))
    return rank_blocks(
        lambda: ((at, _distance_block(array[at : at + height], at)) for at in range(0, len(array), height)),
        array.shape,
        labels,
        max_rank=max_rank,
    )


def _distance_block(distance: NDArray[Any] | torch.Tensor, first_query: int) -> NDArray[Any]:
    """Convert some rows of distances to at least single precision, and check them for NaN."""
    if isinstance(distance, torch.Tensor):
        block = distance.float().numpy() if distance.dtype in (torch.float16, torch.bfloat16) else distance.numpy()
    else:
        block = distance.astype(np.float32) if distance.dtype == np.float16 else distance
    wrong = np.isnan(block).any(axis=1) if block.dtype.kind == "f" else np.zeros(0, dtype=np.bool_)
    if wrong.any():
        raise ValueError(f"distance holds NaN, first for query {first_query + wrong.argmax()}")
    return np.ascontiguousarray(block)


def rank_blocks(
    blocks: Callable[[], Iterator[tuple[int, NDArray[Any]]]],
    shape: tuple[int, ...],
    labels: RankingLabels,
    *,
    max_rank: int = 50,
) -> RankingResult:
    """Compute mAP and CMC of distances that are given in blocks of queries.

    Args:
        blocks: Function that yields (row of the first query, distances ``[some, G]``); called after all checks.
        shape: Shape of all distances, ``(Q, G)``.
        labels: Identities and cameras of Q queries and G gallery images.
        max_rank: Length of the CMC.

    Returns:
        RankingResult: the same as from ``rank_metrics``.

    Raises:
        ValueError: If the shape does not fit the labels, or no query has a match.
    """
    if shape != (len(labels.query), len(labels.gallery)):
        raise ValueError(
            f"distance has shape {shape}; expected {(len(labels.query), len(labels.gallery))} "
            "for so many queries and gallery images"
        )
    return _rate(blocks(), labels, max_rank)


def rank_features(
    query: Features,
    gallery: Features,
    labels: RankingLabels,
    *,
    max_rank: int = 50,
    device: str | torch.device | None = None,
    block_bytes: int = _BLOCK_BYTES,
    progress: Progress | None = None,
    shared: SharedQueries | None = None,
) -> RankingResult:
    """Compute mAP and CMC of features by cosine distance, in blocks: the Q x G distances are never in memory at once.

    Args:
        query: ``[Q, D]`` rows; normalised here where they are not of unit length.
        gallery: ``[G, D]`` rows; normalised here where they are not of unit length.
        labels: Identities and cameras of Q queries and G gallery images.
        max_rank: Length of the CMC.
        device: Device of the multiplication; None: the device of ``gallery``.
        block_bytes: Largest memory of a block of distances, in bytes.
        progress: Called with (queries done, all queries of this process).
        shared: The queries of this process, if several processes share them; None: this one rates all.

    Returns:
        RankingResult: the same as from ``rank_metrics``.

    Raises:
        ValueError: If shapes do not fit, rows are zero, NaN or infinite, or no query has a match.

    Cost: ``2 Q G D`` flops; memory for one block beside the features.
    """
    rows, columns = unit_rows(query, "query"), unit_rows(gallery, "gallery")
    if len(rows) != len(labels.query) or len(columns) != len(labels.gallery):
        raise ValueError(
            f"{len(rows)} query and {len(columns)} gallery features for {len(labels.query)} and "
            f"{len(labels.gallery)} identities"
        )
    where = torch.device(device) if device is not None else columns.device
    columns = columns.to(where)
    height = max(1, block_bytes // max(1, 4 * len(columns)))

    wanted = range(len(rows)) if shared is None else shared.part

    def blocks() -> Iterator[tuple[int, NDArray[Any]]]:
        for at in range(wanted.start, wanted.stop, height):
            stop = min(at + height, wanted.stop)
            yield at, (1 - rows[at:stop].to(where) @ columns.T).cpu().numpy()
            if progress is not None:
                progress(stop - wanted.start, len(wanted))

    return _rate(blocks(), labels, max_rank, shared)


def average_results(results: Sequence[RankingResult]) -> RankingResult:
    """Average several results of one protocol, such as VehicleID's draws of a gallery.

    ``per_query_ap`` is nan, ``first_match`` and ``num_matches`` are 0, because each draw has other queries.
    """
    if not results:
        raise ValueError("there is no result to average")
    return RankingResult(
        mean_ap=float(np.mean([result.mean_ap for result in results])),
        cmc=np.mean([result.cmc for result in results], axis=0),
        per_query_ap=np.full(len(results[0].per_query_ap), np.nan),
        protocol=results[0].protocol,
        num_valid_queries=results[0].num_valid_queries,
        first_match=np.zeros(len(results[0].first_match), dtype=np.int64),
        num_matches=np.zeros(len(results[0].num_matches), dtype=np.int64),
    )


def _rate(
    blocks: Iterator[tuple[int, NDArray[Any]]],
    labels: RankingLabels,
    max_rank: int,
    shared: SharedQueries | None = None,
) -> RankingResult:
    max_rank = check_count(max_rank, "max_rank")
    num_queries = len(labels.query)
    precision = np.full(num_queries, np.nan)
    first_match = np.full(num_queries, -1, dtype=np.int64)
    by_identity = np.argsort(labels.gallery, kind="stable")
    ordered = labels.gallery[by_identity]
    starts = np.searchsorted(ordered, labels.query, side="left")
    stops = np.searchsorted(ordered, labels.query, side="right")
    for at, distance in blocks:
        rows = slice(at, at + len(distance))
        places_of_matches(
            distance,
            labels.query_cameras[rows],
            labels.gallery_cameras,
            by_identity,
            starts[rows],
            stops[rows],
            precision[rows],
            first_match[rows],
        )
    if shared is not None:
        own = slice(shared.part.start, shared.part.stop)
        precision, places = shared.join(np.stack([precision[own], first_match[own].astype(np.float64)], axis=1)).T
        first_match = places.astype(np.int64)
    return _summary(precision, first_match, labels, max_rank)


def _summary(
    precision: NDArray[np.float64],
    first_match: NDArray[np.int64],
    labels: RankingLabels,
    max_rank: int,
) -> RankingResult:
    valid = first_match >= 0
    if not valid.any():
        raise ValueError(
            f"none of the {len(precision)} queries has a match in the gallery under the protocol {labels.protocol}"
            + ("; matches of the query's own camera do not count there" if labels.protocol == "market1501" else "")
        )
    found = np.bincount(np.minimum(first_match[valid], max_rank), minlength=max_rank + 1)[:max_rank]
    return RankingResult(
        mean_ap=float(precision[valid].mean()),
        cmc=np.cumsum(found) / valid.sum(),
        per_query_ap=precision,
        protocol=labels.protocol,
        num_valid_queries=int(valid.sum()),
        first_match=first_match + 1,
        num_matches=labels.num_matches(),
    )
