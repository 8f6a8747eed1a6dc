"""Parquet tables as columns of cells, read in batches: a small file can unfold to any number of rows.

A value that occurs often in a column is one object in memory, however often it is listed. What a table may hold is
limited before it is read, so that memory stays in proportion to the size of the file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from spcl.errors import InputError

MOST_ROWS = 10_000_000
"""Largest number of rows of a table."""

_MOST_CELLS = 100_000_000
_MOST_BYTES = 2**30
_SOME_ROWS = 1_000_000
_ROWS_AN_IMAGE = 10
_BATCH = 65536


def read_parquet_table(path: Path) -> tuple[list[str], list[list[Any]], int]:
    """Read the columns that can describe an image: not vectors, lists, and the index of pandas.

    Args:
        path: Path of the file.

    Returns:
        Names of the columns, which may repeat; the cells of each, None where empty; the number of rows.

    Raises:
        InputError: If the table unfolds to more than it may hold, or lists few images very often.
        ValueError: If it is damaged (``pyarrow.ArrowInvalid``).
        OSError: If it cannot be read.
    """
    file = pq.ParquetFile(path)
    fields = list(file.schema_arrow)
    wanted = [
        number
        for number, field in enumerate(fields)
        if not (pa.types.is_nested(field.type) or field.name.startswith("__index"))
    ]
    names = [fields[number].name for number in wanted]
    num_rows = file.metadata.num_rows
    if num_rows > MOST_ROWS:
        raise _too_large(path, f"it has {num_rows:,} rows, and at most {MOST_ROWS:,} are read")
    if num_rows * len(wanted) > _MOST_CELLS:
        raise _too_large(path, f"it has {num_rows:,} rows of {len(wanted):,} columns")
    _check_bytes(path, file, set(names))
    texts = [field.name for field in fields if pa.types.is_string(field.type) or pa.types.is_binary(field.type)]
    # Text stays in dictionaries, which are small where values repeat.
    file = pq.ParquetFile(path, read_dictionary=texts, memory_map=False)
    columns: list[list[Any]] = [[] for _ in wanted]
    known: list[dict[Any, Any]] = [{} for _ in wanted]
    for batch in file.iter_batches(_BATCH, columns=names):
        for number, column in enumerate(batch.columns):
            columns[number] += _cells(column, known[number])
        if sum(map(len, columns[:1])) > num_rows:
            raise ValueError("it has more rows than it says")
    _check_repeats(path, names, known, num_rows)
    return names, columns, num_rows


def _check_bytes(path: Path, file: pq.ParquetFile, names: set[str]) -> None:
    """Check how many bytes the columns say they unfold to."""
    groups = (file.metadata.row_group(group) for group in range(file.metadata.num_row_groups))
    # pyarrow ends the process where the statistics of a column are damaged: small files are not looked into.
    if sum(group.total_byte_size for group in groups) <= _MOST_BYTES:
        return
    total = 0
    for group in range(file.metadata.num_row_groups):
        rows = file.metadata.row_group(group)
        for number in range(rows.num_columns):
            column = rows.column(number)
            if column.path_in_schema in names:
                total += column.total_uncompressed_size
    if total > _MOST_BYTES:
        raise _too_large(path, f"its columns unfold to {total / 1e9:.1f} GB")


def _check_repeats(path: Path, names: list[str], known: list[dict[Any, Any]], num_rows: int) -> None:
    """Refuse a table of a million rows that has, in each column, less than a tenth as many different values."""
    most = max(map(len, known), default=0)
    if num_rows > _SOME_ROWS and most * _ROWS_AN_IMAGE < num_rows:
        raise _too_large(path, f"it lists at most {most:,} different images in {num_rows:,} rows")


def _too_large(path: Path, why: str) -> InputError:
    return InputError(
        f"the table {path} is not read: {why}; split it into several tables, or remove rows that repeat",
        code="table-too-large",
    )


def _cells(column: Any, known: dict[Any, Any]) -> list[Any]:
    """The cells of a column of a batch as Python's values; ``known`` has the values of the batches before."""
    if pa.types.is_timestamp(column.type) and column.type.unit == "ns":
        # Python's times have microseconds.
        column = column.cast(pa.timestamp("us", column.type.tz), safe=False)
    if not pa.types.is_dictionary(column.type):
        try:
            column = column.dictionary_encode()
        except pa.ArrowNotImplementedError:
            return [_plain(cell, known) for cell in _values(column)]
    values = np.empty(len(column.dictionary) + 1, dtype=object)
    values[-1] = None
    for number, cell in enumerate(_values(column.dictionary)):
        values[number] = _plain(cell, known)
    numbers = column.indices.fill_null(len(column.dictionary)).to_numpy(zero_copy_only=False)
    if len(numbers) and not 0 <= numbers.min() <= numbers.max() <= len(column.dictionary):
        raise ValueError("it has cells without a value")
    cells: list[Any] = values[numbers].tolist()
    return cells


def _values(column: Any) -> list[Any]:
    """The values of a column as Python's; as text, bytes that are not UTF-8 as escapes, where Python has no such value.

    A time or a duration that is text is refused where it is needed.
    """
    try:
        values: list[Any] = column.to_pylist()
    except (OverflowError, ValueError):
        is_text = pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
        values = column.cast(pa.binary() if is_text else pa.string()).to_pylist()
    return values


def _plain(cell: Any, known: dict[Any, Any]) -> Any:
    if isinstance(cell, bytes):
        cell = cell.decode("utf-8", "backslashreplace")
    # NaN is not equal to itself.
    return None if cell is None or cell != cell else known.setdefault(cell, cell)
