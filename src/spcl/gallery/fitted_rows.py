"""Rows in the columns and types of a gallery, in which they are stored."""

from __future__ import annotations

import pyarrow as pa

from spcl.errors import InputError
from spcl.gallery.columns import column_kind


def fitted(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    """Give rows the columns of a gallery, in its order and types; columns that they lack are empty.

    Raises:
        InputError: If a column has another type than in the gallery.
    """
    columns = [
        fitting(rows.column(field.name), field) if field.name in rows.column_names else pa.nulls(len(rows), field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def fitting(column: pa.ChunkedArray, field: pa.Field) -> pa.ChunkedArray:
    """Give a column the type of the gallery's; whole numbers become numbers.

    Raises:
        InputError: If it has another type.
    """
    is_number = pa.types.is_integer(column.type) and pa.types.is_floating(field.type)
    if column.type == field.type or is_number:
        return column.cast(field.type)
    if column.null_count == len(column):
        return pa.nulls(len(column), field.type)
    raise InputError(
        f"the column {field.name!r} holds {column_kind(field.type)} in this gallery; "
        f"these images have {column_kind(column.type)}: give values of the same type, or rename the column",
        code="column-type-mismatch",
    )
