"""The evaluation of each query: a table, the queries with the lowest average precision, a picture of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spcl.atomic_files import written_aside
from spcl.data.image_key import image_keys, kept_path, shown_path
from spcl.data.image_sources import images_of
from spcl.data.source_options import SourceOptions
from spcl.data.table_files import write_table
from spcl.errors import InputError
from spcl.inference.evaluation import EvaluationResult
from spcl.records import Record, ReIDDataset

Names = Mapping[int, str]
"""Names of identities or cameras by their number in the records; without a name, the number is shown."""

MOST_IN_A_PICTURE = 50


@dataclass(frozen=True)
class QueryHit:
    """A gallery image among the first hits of a query.

    Attributes:
        path: The image file.
        similarity: Cosine similarity with the query, -1 to 1.
        identity: Identity of the image; None if unknown.
        camera: Camera of the image; None if unknown.
        right: Whether the image has the query's identity.
    """

    path: Path
    similarity: float
    identity: str | None
    camera: str | None
    right: bool


@dataclass(frozen=True)
class QueryResult:
    """The evaluation of one query.

    Attributes:
        path: The image file.
        identity: Identity of the image; None if unknown.
        camera: Camera of the image; None if unknown.
        average_precision: Average precision, a fraction; None if no gallery image matches.
        first_match: Rank of the nearest match, from 1; None if no gallery image matches.
        num_matches: Number of gallery images that match and count under the protocol.
        reranked_average_precision: Average precision after re-ranking; None without re-ranking, or if no gallery image
            matches.
        reranked_first_match: Rank of the nearest match after re-ranking; None without re-ranking, or if no gallery
            image matches.
        hits: The gallery images most similar to the query, most similar first, before re-ranking.
    """

    path: Path
    identity: str | None
    camera: str | None
    average_precision: float | None
    first_match: int | None
    num_matches: int
    reranked_average_precision: float | None
    reranked_first_match: int | None
    hits: tuple[QueryHit, ...]

    def to_row(self) -> dict[str, Any]:
        """Plain values by name, paths as absolute text; each hit has a path, a similarity and whether it is right."""
        return {
            "path": str(kept_path(self.path)),
            "identity": self.identity,
            "camera": self.camera,
            "average_precision": self.average_precision,
            "first_match": self.first_match,
            "num_matches": self.num_matches,
            "reranked_average_precision": self.reranked_average_precision,
            "reranked_first_match": self.reranked_first_match,
            "hits": [
                {"path": str(kept_path(hit.path)), "similarity": round(hit.similarity, 6), "right": hit.right}
                for hit in self.hits
            ],
        }


def query_results(
    result: EvaluationResult, dataset: ReIDDataset, *, identities: Names | None = None, cameras: Names | None = None
) -> list[QueryResult]:
    """Make the result of each query, in the data set's order.

    Args:
        result: Result of ``evaluate_encoder`` on this data set, with hits.
        dataset: The data set with the queries and the gallery.
        identities: Names of identities by number; None: the numbers are used.
        cameras: Names of cameras by number; None: the numbers are used.

    Raises:
        InputError: If the protocol draws several galleries, so that a query has no ranking of its own.
    """
    hits = result.hits
    if hits is None:
        raise InputError(
            f"the protocol {result.plain.protocol} draws several galleries, so that no query has one ranking; figures "
            "for each query need --protocol no-camera",
            code="option-does-not-apply",
        )

    def named(record: Record) -> tuple[str | None, str | None]:
        return _name(record.identity, identities or {}), _name(record.camera, cameras or {})

    def hit(query: Record, row: int, similarity: float) -> QueryHit:
        record = dataset.gallery[row]
        return QueryHit(record.path, similarity, *named(record), record.identity == query.identity)

    found = []
    for number, query in enumerate(dataset.query):
        shown = zip(hits.rows[number].tolist(), hits.similarities[number].tolist(), strict=True)
        found.append(
            QueryResult(
                query.path,
                *named(query),
                _without_nan(result.plain.per_query_ap[number]),
                int(result.plain.first_match[number]) or None,
                int(result.plain.num_matches[number]),
                None if result.reranked is None else _without_nan(result.reranked.per_query_ap[number]),
                None if result.reranked is None else int(result.reranked.first_match[number]) or None,
                tuple(hit(query, row, similarity) for row, similarity in shown if row >= 0),
            )
        )
    return found


def names_in_source(source: str, dataset: ReIDDataset, options: SourceOptions) -> tuple[Names, Names]:
    """Read the names of the identities and the cameras of queries and gallery from the source.

    Args:
        source: Path or name that the data set was read from.
        dataset: The data set with the queries and the gallery.
        options: How the source is read.

    Returns:
        Names by number, of identities and of cameras. Without a column of identities, the names of folders where each
        identity has one of its own. Empty where numbers and names do not correspond one to one.
    """
    records = dataset.query + dataset.gallery
    try:
        table = images_of(source, options, labelled=True)
    except InputError:
        # The evaluation has read the source; without names, the numbers are shown.
        return {}, {}
    row_of = {key: row for row, key in enumerate(image_keys([record.path for record in table.records]))}
    rows = [row_of.get(key) for key in image_keys([record.path for record in records])]

    def written(name: str) -> list[Any]:
        return [None if row is None else table.columns[name][row] for row in rows]

    folders = [record.path.parent.name for record in records]
    return (
        _one_to_one([r.identity for r in records], written("identity") if "identity" in table.columns else folders),
        _one_to_one([r.camera for r in records], written("camera") if "camera" in table.columns else []),
    )


def _one_to_one(numbers: Sequence[int | None], names: Sequence[Any]) -> Names:
    if len(numbers) != len(names):
        return {}
    pairs = {(number, str(name)) for number, name in zip(numbers, names, strict=True) if None not in (number, name)}
    unique = {number: name for number, name in pairs if number is not None}
    return unique if len(unique) == len(pairs) == len(set(unique.values())) else {}


def _without_nan(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def _name(number: int | None, names: Names) -> str | None:
    return None if number is None else names.get(number, str(number))


def worst(results: Sequence[QueryResult], count: int) -> list[QueryResult]:
    """Give ``count`` queries of lowest average precision, the lowest first, without queries that have no match."""
    rated = [result for result in results if result.average_precision is not None]
    # Of equal precisions, the query with the later first match comes first.
    return sorted(rated, key=lambda result: (result.average_precision, -(result.first_match or 0)))[:count]


def write_query_table(path: Path, results: Sequence[QueryResult]) -> Path:
    """Write one line for each query, as CSV with a head line and absolute paths.

    Args:
        path: The file to write; an existing file is replaced when the new one is complete.
        results: Results of the queries, in the order of the lines.

    Returns:
        The path.

    Raises:
        InputError: If it cannot be written.
    """
    most = max((len(result.hits) for result in results), default=0)
    rows = [_flat(result, most) for result in results]
    with written_aside(path) as aside:
        write_table(aside, list(rows[0]) if rows else ["path"], (list(row.values()) for row in rows))
    return path


def _flat(result: QueryResult, num_hits: int) -> dict[str, Any]:
    row = result.to_row()
    hits = row.pop("hits")
    for number in range(num_hits):
        found = hits[number] if number < len(hits) else {"path": None, "similarity": None, "right": None}
        row |= {f"hit{number + 1}_{name}": value for name, value in found.items()}
    return row


def worst_lines(results: Sequence[QueryResult], count: int) -> list[str]:
    """Format the worst queries as a table of text, with a head line."""
    chosen = worst(results, count)
    columns = {
        "average precision": [f"{100 * (result.average_precision or 0):.1f}%" for result in chosen],
        "first match": [f"rank {result.first_match}" for result in chosen],
        "matches": [str(result.num_matches) for result in chosen],
        "identity": [result.identity or "-" for result in chosen],
        "camera": [result.camera or "-" for result in chosen],
    }
    widths = {name: max(map(len, (name, *cells))) for name, cells in columns.items()}
    rows = [tuple(columns), *zip(*columns.values(), strict=True)]
    paths = ["path", *(shown_path(result.path) for result in chosen)]
    return [
        "  ".join([*(f"{cell:>{width}}" for cell, width in zip(row, widths.values(), strict=True)), path])
        for row, path in zip(rows, paths, strict=True)
    ]


def worst_picture(path: Path, results: Sequence[QueryResult], count: int, size: tuple[int, int]) -> Path:
    """Draw the worst queries with their first hits, at most ``MOST_IN_A_PICTURE`` of them.

    Args:
        path: Path of the PNG file to write.
        results: All queries; at least one has a match.
        count: Number of queries to draw.
        size: Height and width of the encoder's input images, which is the shape in which they are drawn. An image that
            cannot be read is drawn grey.

    Returns:
        The path.

    Raises:
        InputError: If it cannot be written.
    """
    from spcl.report.ranked import Ranking, ShownImage, lines_under, picture_of, ranked_picture

    chosen = worst(results, min(count, MOST_IN_A_PICTURE))
    queries = [
        ShownImage(
            picture_of(result.path, size),
            lines=(
                f"AP {100 * (result.average_precision or 0):.1f}%",
                f"first match: rank {result.first_match}",
                *lines_under(shown_path(result.path), identity=result.identity, camera=result.camera),
            ),
        )
        for result in chosen
    ]
    found = [
        [
            ShownImage(
                picture_of(hit.path, size),
                hit.right,
                lines_under(shown_path(hit.path), similarity=hit.similarity, identity=hit.identity, camera=hit.camera),
            )
            for hit in result.hits
        ]
        for result in chosen
    ]
    return ranked_picture(path, queries, [Ranking("most similar gallery images", found)])
