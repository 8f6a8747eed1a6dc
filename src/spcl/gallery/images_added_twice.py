"""An image that is added twice: its rows become one row; new values replace, and empty values keep what is known."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from spcl.gallery.columns import KEY, VECTOR

_REPLACED = (KEY, VECTOR, "path")


def merged_by_key(rows: pa.Table) -> pa.Table:
    """Merge the rows of each key into one row, at the place of the last of them.

    Path and vector are those of the last row. Each other column has its last value that is not empty.
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
        latest: dict[str, Any] = {}
        for key, value in zip(keys, rows.column(field.name).to_pylist(), strict=True):
            if value is not None:
                latest[key] = value
        kept = kept.set_column(place, field, pa.array([latest.get(keys[row]) for row in kept_rows], field.type))
    return kept


def filled_from(rows: pa.Table, held: pa.Table) -> tuple[pa.Table, dict[str, int]]:
    """Fill the empty cells of new rows from the rows of the gallery that have the same key.

    Args:
        rows: New rows; no key occurs twice.
        held: Rows of the gallery, with columns of the same types; no key occurs twice, and the vectors may be missing.

    Returns:
        The new rows, and for each column the number of values that were taken from the gallery.
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
