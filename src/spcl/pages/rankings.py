"""Ranked results on a page: the worst, the best and random queries, each with the images that it finds first."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spcl.pages.camera_pairs import CameraPair, camera_pairs
from spcl.pages.pictures import Picture, PictureBook
from spcl.pages.ranked_images import Ranked
from spcl.pages.shown_images import ShownImages
from spcl.pages.similarities import UsedCalibration
from spcl.randomness import generator
from spcl.retrieval.matches import RankingLabels
from spcl.retrieval.ranking import RankingResult
from spcl.retrieval.top_gallery import TopGallery, top_gallery

HITS = 8
EACH = 8
"""Number of best, of worst and of random queries."""


@dataclass(frozen=True)
class ShownHit:
    """An image that a query found, or the query itself.

    Attributes:
        picture: The image.
        name: Its file name.
        path: Its path.
        camera: Its camera; None: unknown.
        time: Its time; None: unknown.
        identity: Its identity; None: unknown.
        similarity: Similarity to the query; None: it is the query.
        probability: Calibrated probability that both show one object; None without a calibration.
        right: Whether it shows the query's object; None: unknown, or it is the query.
    """

    picture: Picture
    name: str
    path: str
    camera: str | None
    time: str | None
    identity: str | None
    similarity: float | None = None
    probability: float | None = None
    right: bool | None = None


@dataclass(frozen=True)
class ShownQuery:
    """A query and what it finds.

    Attributes:
        query: The query.
        hits: What it finds, most similar first.
        average_precision: Average precision; None without labels.
        first_match: Rank of the first right image, from 1; None without labels, or without a match.
        num_matches: Number of right images in the gallery; None without labels.
    """

    query: ShownHit
    hits: tuple[ShownHit, ...]
    average_precision: float | None = None
    first_match: int | None = None
    num_matches: int | None = None


@dataclass(frozen=True)
class RankedSection:
    """Ranked results.

    Attributes:
        ranked: The figures; None without labels.
        parts: Title and queries of each part: best, worst, random.
        cameras: Names of the cameras of ``pairs``, in order.
        pairs: Figures of each pair of cameras; empty without labels, or with fewer than two cameras.
        is_calibrated: Whether there are probabilities.
    """

    ranked: Ranked | None
    parts: tuple[tuple[str, tuple[ShownQuery, ...]], ...]
    cameras: tuple[str, ...]
    pairs: tuple[CameraPair, ...]
    is_calibrated: bool


def ranked_section(
    images: ShownImages, ranked: Ranked | None, calibration: UsedCalibration | None, book: PictureBook
) -> RankedSection | None:
    """Choose the queries that a page shows, and compare the cameras.

    Args:
        images: The images with their features.
        ranked: Their ranking; None without labels: random images are then queries, and all others the gallery.
        calibration: Calibration of the encoder; None: none.
        book: Book that the pictures are asked of.
    """
    if images.features is None or len(images) < 2:
        return None
    if ranked is None:
        count = min(EACH, len(images))
        rows = np.sort(generator(0, "queries of a page").choice(len(images), size=count, replace=False))
        shown = _of_unlabelled(images, rows, calibration, book)
        return RankedSection(None, (("random", shown),), (), (), calibration is not None)
    parts = tuple(
        (title, shown_queries(images, ranked, rows, calibration, book)) for title, rows in _chosen(ranked.result)
    )
    cameras, pairs = camera_pairs(images, ranked, calibration)
    return RankedSection(ranked, parts, cameras, pairs, calibration is not None)


def shown_queries(
    images: ShownImages,
    ranked: Ranked,
    queries: NDArray[np.int64],
    calibration: UsedCalibration | None,
    book: PictureBook,
) -> tuple[ShownQuery, ...]:
    """Give some queries with their first hits.

    Args:
        images: The images with their features.
        ranked: Their ranking.
        queries: ``[n]`` numbers of the queries, rows of ``ranked.query_rows``.
        calibration: Calibration of the encoder; None: none.
        book: Book that the pictures are asked of.
    """
    hits = _hits(images, ranked, queries)
    return tuple(
        _shown_query(images, ranked, query, (hits, at), calibration, book) for at, query in enumerate(queries.tolist())
    )


def _chosen(result: RankingResult) -> list[tuple[str, NDArray[np.int64]]]:
    """Choose the rows of the worst, the best and random queries; a query is shown once where there are enough."""
    rated = np.flatnonzero(~np.isnan(result.per_query_ap))
    order = rated[np.lexsort((-result.first_match[rated], result.per_query_ap[rated]))]
    worst = order[:EACH]
    best = order[::-1][: min(EACH, len(order) - len(worst))]
    rest = np.setdiff1d(order, np.concatenate([worst, best]))
    drawn = np.sort(generator(0, "random queries of a page").choice(rest, min(EACH, len(rest)), replace=False))
    return [(title, rows) for title, rows in (("worst", worst), ("best", best), ("random", drawn)) if len(rows)]


def _hits(images: ShownImages, ranked: Ranked, queries: NDArray[np.int64]) -> TopGallery:
    features, labels = images.features, ranked.labels
    if features is None:
        raise ValueError("the images have no features")
    some = RankingLabels(
        labels.query[queries], labels.gallery, labels.query_cameras[queries], labels.gallery_cameras, labels.protocol
    )
    return top_gallery(features[ranked.query_rows[queries]], features[ranked.gallery_rows], some, k=HITS)


def _shown_query(
    images: ShownImages,
    ranked: Ranked,
    query: int,
    found: tuple[TopGallery, int],
    calibration: UsedCalibration | None,
    book: PictureBook,
) -> ShownQuery:
    hits, at = found
    shown = []
    for row, similarity in zip(hits.rows[at].tolist(), hits.similarities[at].tolist(), strict=True):
        if row >= 0:
            right = bool(ranked.labels.gallery[row] == ranked.labels.query[query])
            shown.append(_hit(images, int(ranked.gallery_rows[row]), book, (similarity, right), calibration))
    result = ranked.result
    return ShownQuery(
        _hit(images, int(ranked.query_rows[query]), book),
        tuple(shown),
        float(result.per_query_ap[query]),
        int(result.first_match[query]) or None,
        int(result.num_matches[query]),
    )


def _of_unlabelled(
    images: ShownImages, rows: NDArray[np.int64], calibration: UsedCalibration | None, book: PictureBook
) -> tuple[ShownQuery, ...]:
    from spcl.neighbours.nearest import nearest_neighbours

    if images.features is None:
        return ()
    found = nearest_neighbours(images.features, HITS + 1, queries=images.features[rows])
    shown = []
    for row, others, similarities in zip(rows.tolist(), found.indices, found.similarities, strict=True):
        pairs = [
            (other, value) for other, value in zip(others.tolist(), similarities.tolist(), strict=True) if other != row
        ]
        hits = tuple(_hit(images, other, book, (value, None), calibration) for other, value in pairs[:HITS])
        shown.append(ShownQuery(_hit(images, row, book), hits))
    return tuple(shown)


def _hit(
    images: ShownImages,
    row: int,
    book: PictureBook,
    found: tuple[float | None, bool | None] = (None, None),
    calibration: UsedCalibration | None = None,
) -> ShownHit:
    path = images.records[row].path
    similarity, right = found
    known = similarity is not None and calibration is not None
    return ShownHit(
        picture=book.picture(path, "large"),
        name=path.name,
        path=str(path),
        camera=images.cameras[row],
        time=images.times[row],
        identity=images.identities[row],
        similarity=similarity,
        probability=calibration.probability(similarity) if known else None,  # type: ignore[union-attr, arg-type]
        right=right,
    )
