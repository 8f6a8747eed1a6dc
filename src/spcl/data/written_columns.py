"""What tables say of images, as users wrote it: cameras, identities, times and columns of their own.

Training numbers cameras and identities from 0 (``Record``); whoever searches means the text in the table. Values are
plain here: text, whole numbers, numbers, times; None where a cell is empty.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from spcl.data.from_manifest import manifests_of_prefix, names_splits, tables_of_splits
from spcl.data.listed_images import SPLITS, listed_images
from spcl.data.one_image import image_keys
from spcl.data.table_options import TableOptions
from spcl.records import Record

Columns = dict[str, list[Any]]

_EMPTY_MARKS = frozenset({"na", "n/a", "#n/a", "<na>", "nan", "none", "null", "-", "?"})
"""An empty cell among numbers, as tables write it; among words these are words."""
_READ_ALREADY = ("identity", "camera", "time", "split")


def written_columns(tables: str | Path, records: Sequence[Record], *, options: TableOptions | None = None) -> Columns:
    """The columns of tables.

    Args:
        tables: A table; ``train=a.csv,query=b.csv``; or the common beginning of ``..._train.csv``, ``..._query.csv``.
        records: Its images, in any order: an image in several splits comes in the order training, query, gallery.
        options: Names of a table's columns and the form of its times.

    Returns:
        A list as long as ``records`` for each column, in their order, under its name (lower case, what is neither a
        letter nor a digit as ``_``): identities and cameras as text, the column ``time`` as ``datetime``, others as
        numbers where all their cells are. Columns without any value are left out.

    Raises:
        InputError: As ``listed_images``; if a cell of ``time`` is no time.
    """
    listed = listed_images(tables_meant(Path(tables)), options)
    rows_of: dict[str, list[int]] = {}
    for split in SPLITS:
        for row, key in enumerate(listed.keys):
            if listed.splits[row] == split:
                rows_of.setdefault(key, []).append(row)
    rows: list[int | None] = []
    for key in image_keys([record.path for record in records]):
        found = rows_of.get(key, [])
        rows.append((found.pop(0) if len(found) > 1 else found[0]) if found else None)
    columns: Columns = {}
    for name, cells in listed.columns.items():
        # Over all tables: what is text in one of them is text.
        values = cells if name in _READ_ALREADY else _typed([_plain(cell) for cell in cells])
        columns[name] = [None if row is None else values[row] for row in rows]
    return {name: values for name, values in columns.items() if any(value is not None for value in values)}


def tables_meant(given: Path) -> dict[str, Path]:
    """The tables that are meant, by split; one for all splits has the name ""."""
    if not given.exists():
        if names_splits(str(given)):
            return tables_of_splits(str(given))
        if prefixed := manifests_of_prefix(given):
            return prefixed
    return {"": given}


def _typed(values: list[Any]) -> list[Any]:
    """Text of nothing but numbers becomes numbers: a CSV knows no others."""
    known = [None if _is_empty_mark(value) else value for value in values]
    given = [value for value in known if value is not None]
    if not given:
        return known
    if not all(isinstance(value, str) for value in given):
        return values
    # 007 is a name, not seven.
    if all(re.fullmatch(r"-?(0|[1-9]\d{0,17})", value) for value in given):
        return [None if value is None else int(value) for value in known]
    if all(re.fullmatch(r"-?(0|[1-9]\d*)(\.\d+)?([eE][-+]?\d+)?", value) for value in given):
        return [None if value is None else float(value) for value in known]
    return values


def _is_empty_mark(value: Any) -> bool:
    return isinstance(value, str) and value.lower() in _EMPTY_MARKS


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, str | bool | int | float | datetime) else str(value)
