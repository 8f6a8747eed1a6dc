"""Results of search and identification as tables, in CSV or Parquet, with one row for each result.

The column ``path`` holds the absolute path of the query, so that such a table can be used as a table of images: the
identity given to a query is then the identity of the image. Columns about the images that were found have other names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from spcl.atomic_files import written_aside
from spcl.data.formula_cells import as_text
from spcl.data.image_key import kept_path
from spcl.data.table_files import write_table
from spcl.gallery.columns import TIME, path_text
from spcl.gallery.result import Hit, SearchResult
from spcl.verification.identification import Identification

_IDENTIFICATION: dict[str, pa.DataType | None] = {
    "path": pa.string(),
    "identity": pa.string(),
    "is_unknown": pa.bool_(),
    "probability": pa.float64(),
    "similarity": pa.float64(),
    "nearest_identity": pa.string(),
    "runner_up": pa.string(),
    "runner_up_similarity": pa.float64(),
    "nearest_path": pa.string(),
    "nearest_similarity": pa.float64(),
    "nearest_camera": pa.string(),
    "nearest_time": TIME,
}


def search_table(result: SearchResult, queries: Sequence[str | Path], tracks: Sequence[str | None] = ()) -> pa.Table:
    """Make the table of a search: the hits of each query, nearest first.

    A query without hits has one row without a rank.

    Args:
        result: Result of the search.
        queries: Paths of the queries.
        tracks: Names of the tracks that were searched for, one for each query; empty: images were searched for.

    Returns:
        Columns path (the query), track (the query's, for tracks only), rank (from 1), found_path, similarity, distance
        (after re-ranking, else missing), found_identity, found_camera, found_time, and ``found_`` and the name of each
        further column of the gallery.
    """
    rows: list[dict[str, Any]] = []
    for query, track, hits in zip(queries, tracks or [None] * len(queries), result, strict=True):
        asked = {"path": _absolute(query), "track": track}
        rows += [{**asked, "rank": rank, **_found(hit)} for rank, hit in enumerate(hits, start=1)]
        if not hits:
            rows.append(asked)
    own = [name for hits in result for hit in hits[:1] for name in hit.columns]
    kinds: dict[str, pa.DataType | None] = {
        "path": pa.string(),
        **({"track": pa.string()} if tracks else {}),
        "rank": pa.int64(),
        "found_path": pa.string(),
        "similarity": pa.float64(),
        "distance": pa.float64(),
        "found_identity": pa.string(),
        "found_camera": pa.string(),
        "found_time": TIME,
        **{f"found_{name}": None for name in own},
    }
    if all(row.get("distance") is None for row in rows):
        del kinds["distance"]
    return _table(rows, kinds)


def identification_table(
    answers: Sequence[Identification],
    queries: Sequence[str | Path],
    nearest: Sequence[Hit | None],
    tracks: Sequence[str | None] = (),
) -> pa.Table:
    """Make the table of an identification, with one row for each query.

    Args:
        answers: An answer for each query.
        queries: Paths of the queries.
        nearest: For each query, the most similar image of its nearest identity; None where there is none.
        tracks: Names of the tracks that were named, one for each query; empty: images were named.

    Returns:
        Columns path (the query), track (for tracks only), identity (the name that was given; empty where
        ``is_unknown``, whatever identities are called), is_unknown, probability, similarity (to the mean of the
        nearest identity), nearest_identity (also where it is too far to give its name), runner_up,
        runner_up_similarity, nearest_path, nearest_similarity, nearest_camera and nearest_time (of the most
        similar image of the nearest identity).
    """
    rows = []
    for answer, query, hit, track in zip(answers, queries, nearest, tracks or [None] * len(queries), strict=True):
        row: dict[str, Any] = {
            "path": _absolute(query),
            "track": track,
            "identity": None if answer.identity is None else str(answer.identity),
            "is_unknown": answer.identity is None,
            "probability": answer.probability,
            "similarity": answer.similarity,
            "nearest_identity": str(answer.nearest),
            "runner_up": None if answer.runner_up is None else str(answer.runner_up),
            "runner_up_similarity": answer.runner_up_similarity,
        }
        if hit is not None:
            row |= {
                "nearest_path": hit.path,
                "nearest_similarity": hit.similarity,
                "nearest_camera": hit.camera,
                "nearest_time": hit.time,
            }
        rows.append(row)
    kinds = {"path": pa.string(), "track": pa.string(), **_IDENTIFICATION} if tracks else _IDENTIFICATION
    return _table(rows, kinds)


def write_answers(path: Path, table: pa.Table, *, excel: bool = False) -> None:
    """Write a table as CSV or Parquet; the file is replaced atomically.

    Args:
        path: A file that ends in ``.csv`` or ``.parquet``.
        table: Table of answers.
        excel: Whether a CSV is for a spreadsheet: with a byte-order mark, so that it is read as UTF-8, and with ``'``
            before text that would be read as a formula (text that begins with ``=``, ``+``, ``-`` or ``@``).

    Raises:
        InputError: If it cannot be written.
    """
    with written_aside(path) as aside:
        if path.suffix.lower() == ".parquet":
            pq.write_table(table, aside)
            return
        rows = zip(*(column.to_pylist() for column in table.columns), strict=True)
        cells = ([_cell(value, excel) for value in row] for row in rows)
        write_table(aside, table.column_names, cells, mark=excel)


def _found(hit: Hit) -> dict[str, Any]:
    own = {f"found_{name}": value for name, value in hit.columns.items()}
    return own | {
        "found_path": hit.path,
        "similarity": hit.similarity,
        "distance": hit.distance,
        "found_identity": hit.identity,
        "found_camera": hit.camera,
        "found_time": hit.time,
    }


def _table(rows: Sequence[Mapping[str, Any]], kinds: Mapping[str, pa.DataType | None]) -> pa.Table:
    return pa.table({name: pa.array([row.get(name) for row in rows], kind) for name, kind in kinds.items()})


def _absolute(path: str | Path) -> str:
    return path_text(kept_path(path))


def _cell(value: object, excel: bool) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, datetime):
        return value.isoformat(sep=" ")
    if isinstance(value, float):
        return f"{value:.6g}"
    text = str(value)
    return as_text(text) if excel and isinstance(value, str) else text
