"""Rows that meet rows of the same key: what the new row says replaces, what it does not say stays."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from spcl.gallery.columns import KEY, VECTOR

_REPLACED = (KEY, VECTOR, "path")


def merged_by_key(rows: pa.Table) -> pa.Table:
    """One row for each key, where the last row of the key stood.

    Path and vector are those of the last row; of each other column, the last value that is not empty.
    """
    keys = rows.column(KEY).to_pylist()
    last = {key: row for row, key in enumerate(keys)}
    if len(last) == len(keys):
        return rows
    kept_rows = sorted(last.values())
    kept = rows.take(pa.array(kept_rows))
    for place, field in enumerate(rows.schema):
        if field.name in _REPLACED:
            continue
        said: dict[str, Any] = {}
        for key, value in zip(keys, rows.column(field.name).to_pylist(), strict=True):
            if value is not None:
                said[key] = value
        kept = kept.set_column(place, field, pa.array([said.get(keys[row]) for row in kept_rows], field.type))
    return kept


def filled_from(rows: pa.Table, held: pa.Table) -> tuple[pa.Table, dict[str, int]]:
    """Rows whose empty cells have the values of rows that are held under the same key.

    Args:
        rows: New rows, each key once.
        held: Rows of the gallery, each key once; columns of the same types, the vector may be missing.

    Returns:
        The rows, and for each column how many values stayed as they were.
    """
    kept: dict[str, int] = {}
    if not len(held):
        return rows, kept
    places = pc.index_in(rows.column(KEY), value_set=held.column(KEY).combine_chunks())
    for place, field in enumerate(rows.schema):
        if field.name in _REPLACED or field.name not in held.column_names:
            continue
        new = rows.column(field.name)
        if not new.null_count:
            continue
        old = held.column(field.name).take(places)
        stayed = pc.sum(pc.and_(pc.is_null(new), pc.is_valid(old))).as_py()
        if stayed:
            kept[field.name] = int(stayed)
            rows = rows.set_column(place, field, pc.coalesce(new, old).cast(field.type))
    return rows, kept
