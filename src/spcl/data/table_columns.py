"""The columns of tables for galleries and results: cameras, identities, times, and the user's own columns.

Training numbers cameras and identities from 0 (``Record``); a search uses the text in the table. Values are text, whole
numbers, floating-point numbers or times; None where a cell is empty.
"""

from __future__ import annotations

import math
import re
from datetime import datetime
from pathlib import Path
from typing import Any

from spcl.data.listed_images import SPLITS, ListedImages
from spcl.data.table_dataset import names_splits, tables_of_prefix, tables_of_splits
from spcl.records import ReIDDataset

Columns = dict[str, list[Any]]

_EMPTY_MARKS = frozenset({"na", "n/a", "#n/a", "<na>", "nan", "none", "null", "-", "?"})
"""Texts that mean an empty cell in a column of numbers; in other columns they are text."""
_READ_ALREADY = ("identity", "camera", "time", "split", "track")


def columns_of(listed: ListedImages, dataset: ReIDDataset) -> Columns:
    """Give the columns of tables in the order of a data set.

    Args:
        listed: Rows of the tables.
        dataset: Data set of these tables, or a part of it.

    Returns:
        For each column, under its name (lower case, what is neither a letter nor a digit as ``_``), a list with a value
        for each image of training, query and gallery, in this order: identities and cameras as text, the column
        ``time`` as ``datetime``, others as numbers where all their cells are. Columns without any value are left out.
    """
    row_of = {
        (split, str(path)): row for row, (split, path) in enumerate(zip(listed.splits, listed.paths, strict=True))
    }
    rows = [row_of[split, str(record.path)] for split in SPLITS for record in getattr(dataset, split)]
    columns: Columns = {}
    for name, cells in listed.columns.items():
        # The type is that of all tables: a column that is text in one table is text.
        values = cells if name in _READ_ALREADY else _typed([_plain(cell) for cell in cells])
        columns[name] = [values[row] for row in rows]
    return {name: values for name, values in columns.items() if any(value is not None for value in values)}


def tables_meant(given: Path) -> dict[str, Path]:
    """Find the tables of a path, by split; one table for all splits has the name ""."""
    if not given.exists():
        if names_splits(str(given)):
            return tables_of_splits(str(given))
        if prefixed := tables_of_prefix(given):
            return prefixed
    return {"": given}


def _typed(values: list[Any]) -> list[Any]:
    """Convert text to numbers if all values are numbers: CSV has only text."""
    known = [None if _is_empty_mark(value) else value for value in values]
    given = [value for value in known if value is not None]
    if not given:
        return known
    if not all(isinstance(value, str) for value in given):
        return values
    # 007 is a name, not the number 7.
    if all(re.fullmatch(r"-?(0|[1-9]\d{0,17})", value) for value in given):
        return [None if value is None else int(value) for value in known]
    if all(re.fullmatch(r"-?(0|[1-9]\d*)(\.\d+)?([eE][-+]?\d+)?", value) for value in given):
        numbers = {value: float(value) for value in given}
        if all(math.isfinite(number) and _keeps_digits(value, number) for value, number in numbers.items()):
            return [None if value is None else numbers[value] for value in known]
    return values


def _keeps_digits(text: str, number: float) -> bool:
    """Whether a whole number is exact as a floating-point number: the digits of a long ID would be lost."""
    return not text.removeprefix("-").isdecimal() or number == int(text)


def _is_empty_mark(value: Any) -> bool:
    return isinstance(value, str) and value.lower() in _EMPTY_MARKS


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, str | bool | int | float | datetime) else str(value)
