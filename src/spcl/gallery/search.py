"""Search in one version of a gallery: by comparing every vector or by the index, then re-ranking."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from spcl.arrays import Progress
from spcl.gallery.columns import OWN_COLUMNS, VECTOR
from spcl.gallery.keys import OwnImages
from spcl.gallery.result import GalleryEngine, Hit
from spcl.gallery.snapshot import Snapshot
from spcl.reporting.console import Reporter

RERANK_CANDIDATES = 100
"""Number of nearest images that re-ranking orders; four times the number of requested hits if that is more."""

_MOST_WIDENED = 4.0


@dataclass(frozen=True)
class IndexFacts:
    """Size, settings and recall of a gallery's index.

    Attributes:
        rows: Number of rows of the gallery when the index was built.
        regions: Number of regions that a search compares.
        refine: Number of candidates for each requested hit that are compared by their full vectors.
        recall: Share of the true 10 nearest images that are found, averaged over a sample of the gallery's images.
        sample: Number of images in the sample.
    """

    rows: int
    regions: int
    refine: int
    recall: float
    sample: int


@dataclass(frozen=True)
class Found:
    """The rows that were found for each query, nearest first.

    Attributes:
        row_ids: Row numbers ``[n]`` int64 of the hits of each query.
        similarities: Cosine similarities ``[n]`` float32 of the hits of each query.
        engine: Engine of the search.
        distances: Re-ranked distances ``[n]`` float32 of the hits of each query; None without re-ranking.
    """

    row_ids: list[NDArray[np.int64]]
    similarities: list[NDArray[np.float32]]
    engine: GalleryEngine
    distances: list[NDArray[np.float32]] | None = None


def nearest(
    snapshot: Snapshot,
    queries: NDArray[np.float32],
    k: int,
    facts: IndexFacts | None,
    passing: tuple[str | None, int],
    rerank: bool,
    report: Reporter,
) -> Found:
    """Find the nearest rows to each query.

    Args:
        snapshot: Snapshot of the gallery that is searched.
        queries: ``[Q, D]`` unit rows.
        k: Number of neighbours for each query.
        facts: Facts of the index; None: every vector is compared.
        passing: A checked filter, None without a filter, and the number of rows that pass it.
        rerank: Whether to order the nearest by k-reciprocal re-ranking among themselves.
        report: Receives progress.
    """
    wanted = max(RERANK_CANDIDATES, 4 * k) if rerank else k
    condition, num_passing = passing
    with report.progress("searching") as advance:
        if facts is None:
            found = search_exactly(snapshot, queries, wanted, condition, num_passing=num_passing, progress=advance)
        else:
            found = search_by_index(snapshot, queries, wanted, facts, condition, num_passing, advance)
    if not rerank:
        return found
    with report.progress("re-ranking") as advance:
        return reranked(snapshot, queries, found, k, advance)


def nearest_others(
    snapshot: Snapshot,
    queries: NDArray[np.float32],
    k: int,
    facts: IndexFacts | None,
    passing: tuple[str | None, int],
    rerank: bool,
    own: OwnImages,
    report: Reporter,
) -> Found:
    """Find the nearest rows to each query, without the image that the query is.

    Args:
        snapshot: Snapshot of the gallery that is searched.
        queries: ``[Q, D]`` unit rows.
        k: Number of neighbours for each query.
        facts: Facts of the index; None: every vector is compared.
        passing: A checked filter, None without a filter, and the number of rows that pass it.
        rerank: Whether to order the nearest by k-reciprocal re-ranking among themselves.
        own: The images that the queries are.
        report: Receives progress.
    """
    # A gallery of format 1 may hold one image under several paths, so that one row more may not be enough.
    wanted = k + 1
    while True:
        found = nearest(snapshot, queries, wanted, facts, passing, rerank, report)
        found, is_complete = without_own(snapshot, found, own, k)
        if is_complete or wanted >= passing[1]:
            return found
        wanted *= 2


def search_exactly(
    snapshot: Snapshot,
    queries: NDArray[np.float32],
    k: int,
    where: str | None = None,
    *,
    num_passing: int = 0,
    progress: Progress | None = None,
) -> Found:
    """Compare every row that passes the filter with all queries, in one pass over the table.

    Args:
        snapshot: Snapshot of the gallery that is searched.
        queries: ``[Q, D]`` unit rows.
        k: Number of neighbours for each query.
        where: A filter that images must pass.
        num_passing: Number of rows that pass the filter, for the progress.
        progress: Called with (rows done, all rows).

    Cost: Q N D multiplications; memory for one batch of rows.
    """
    answered = snapshot.search_every(queries, k, where, progress)
    if answered is not None:
        return Found(*answered, "exact")
    similarities = np.full((len(queries), 0), -np.inf, dtype=np.float32)
    rows = np.full((len(queries), 0), -1, dtype=np.int64)
    done = 0
    for row_ids, batch in snapshot.scan([VECTOR], where):
        vectors = batch.column(VECTOR).flatten().to_numpy().reshape(-1, snapshot.dim)
        # The search of ``neighbours`` is made for many queries and one block; here few queries meet many blocks.
        compared = queries @ vectors.T
        best = _largest(compared, k)
        similarities = np.concatenate([similarities, np.take_along_axis(compared, best, axis=1)], axis=1)
        rows = np.concatenate([rows, row_ids[best]], axis=1)
        # Stable: of equal similarities, the first row of the table stays first.
        order = np.argsort(-similarities, axis=1, kind="stable")[:, :k]
        similarities = np.take_along_axis(similarities, order, axis=1)
        rows = np.take_along_axis(rows, order, axis=1)
        done += len(row_ids)
        if progress is not None:
            progress(done, num_passing)
    return Found(list(rows), list(similarities), "exact")


def _largest(values: NDArray[np.float32], k: int) -> NDArray[np.int64]:
    """The columns of the ``k`` largest values of each row, in ascending order of the columns."""
    if values.shape[1] <= k:
        return np.broadcast_to(np.arange(values.shape[1]), values.shape)
    return np.sort(np.argpartition(values, values.shape[1] - k, axis=1)[:, -k:], axis=1)


def search_by_index(
    snapshot: Snapshot,
    queries: NDArray[np.float32],
    k: int,
    facts: IndexFacts,
    where: str | None,
    num_passing: int,
    progress: Progress | None = None,
) -> Found:
    """Compare the rows in the regions of the index that lie nearest to each query.

    Args:
        snapshot: Snapshot of the gallery that is searched.
        queries: ``[Q, D]`` unit rows.
        k: Number of neighbours for each query.
        facts: Facts of the index.
        where: A filter that images must pass.
        num_passing: Number of rows that pass the filter. For few rows more regions are compared, and all regions if
            fewer than ``k`` rows are found.
        progress: Called with (queries done, all queries).
    """
    widened = min(_MOST_WIDENED, max(1.0, facts.rows / max(1, num_passing)) ** 0.5)
    rows, similarities = [], []
    for number, query in enumerate(queries, start=1):
        found, squared = snapshot.search_index(
            query, k, regions=round(facts.regions * widened), refine=facts.refine, where=where
        )
        if len(found) < min(k, num_passing):
            found, squared = snapshot.search_index(query, k, regions=None, refine=facts.refine, where=where)
        rows.append(found)
        similarities.append((1 - squared / 2).astype(np.float32))
        if progress is not None:
            progress(number, len(queries))
    return Found(rows, similarities, "index")


def reranked(
    snapshot: Snapshot, queries: NDArray[np.float32], found: Found, k: int, progress: Progress | None = None
) -> Found:
    """Order the candidates of each query by their k-reciprocal distance, and keep the first ``k``.

    Args:
        snapshot: Snapshot in which the hits were found.
        queries: ``[Q, D]`` unit rows.
        found: The candidates of each query; more than ``k``, because re-ranking compares their neighbours.
        k: Number of hits to keep.
        progress: Called with (queries done, all queries).
    """
    rows, similarities, distances = [], [], []
    for query, row_ids, similarity in zip(queries, found.row_ids, found.similarities, strict=True):
        if not len(row_ids):
            distance = np.empty(0, dtype=np.float32)
        else:
            # Imported here because other searches do not need this compiled code.
            from spcl.retrieval.rerank import rerank

            distance = rerank(query[None], snapshot.vectors(row_ids))[0]
        order = np.argsort(distance, kind="stable")[:k]
        rows.append(row_ids[order])
        similarities.append(similarity[order])
        distances.append(distance[order])
        if progress is not None:
            progress(len(rows), len(queries))
    return Found(rows, similarities, found.engine, distances)


def without_own(snapshot: Snapshot, found: Found, own: OwnImages, k: int) -> tuple[Found, bool]:
    """Remove the images that the queries are from what was found.

    Args:
        snapshot: Snapshot in which the hits were found.
        found: At least one more row than ``k`` for each query, where there are so many.
        own: The images that the queries are.
        k: Number of hits to keep for each query.

    Returns:
        The hits that are left, and whether each query has ``k`` of them.
    """
    every = np.concatenate([*found.row_ids, np.empty(0, dtype=np.int64)])
    column = own.column(snapshot)
    held = own.of_rows(snapshot, snapshot.take(every, [column]).column(column).to_pylist()) if len(every) else []
    ends = np.cumsum([0, *map(len, found.row_ids)])
    others = [
        np.array([held[row] != key for row in range(start, end)], dtype=bool).nonzero()[0][:k]
        for key, (start, end) in zip(own.keys, pairwise(ends), strict=True)
    ]
    distances = found.distances
    left = Found(
        [rows[places] for rows, places in zip(found.row_ids, others, strict=True)],
        [values[places] for values, places in zip(found.similarities, others, strict=True)],
        found.engine,
        None if distances is None else [values[places] for values, places in zip(distances, others, strict=True)],
    )
    return left, all(len(places) == k for places in others)


def hits_of(snapshot: Snapshot, found: Found) -> tuple[tuple[Hit, ...], ...]:
    """Make the hits of each query from the rows that were found, with their columns."""
    names = [name for name in snapshot.schema.names if name != VECTOR]
    every = np.concatenate([*found.row_ids, np.empty(0, dtype=np.int64)])
    rows = snapshot.take(every, names).to_pylist() if len(every) else []
    similarities = [float(value) for values in found.similarities for value in values]
    distances: list[float | None] = [None] * len(rows)
    if found.distances is not None:
        distances = [float(value) for values in found.distances for value in values]
    hits = [
        Hit(
            similarity=similarity,
            distance=distance,
            columns={name: row[name] for name in names if name not in OWN_COLUMNS},
            **{name: row[name] for name in OWN_COLUMNS},
        )
        for row, similarity, distance in zip(rows, similarities, distances, strict=True)
    ]
    ends = np.cumsum([0, *map(len, found.row_ids)])
    return tuple(tuple(hits[start:end]) for start, end in pairwise(ends))
