"""What users wrote about their images: cameras, identities, times and columns of their own, as they wrote them.

Training numbers cameras and identities from 0 (``Record``); whoever searches means the number in the file name (``_c3``
is camera 3) or the text in the table. Values are plain here: text, whole numbers, numbers, times; None where a cell is
empty.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from spcl.data.cameras import camera_in_name
from spcl.data.from_manifest import SUFFIXES, manifests_of_prefix, names_splits, tables_of_splits
from spcl.data.listed_images import SPLITS, ListedImages, listed_images
from spcl.data.one_image import image_keys
from spcl.data.placeholders import without_placeholders
from spcl.data.table_options import TableOptions
from spcl.records import Record

IdentityFrom = Literal["table", "folder", "name"]
Columns = dict[str, list[Any]]

_IDENTITY_IN_NAME = re.compile(r"^(-?\d+)_c", re.IGNORECASE)
_NO_IDENTITY = re.compile(r"-1|0+")
"""Market-1501's junk and distractors: different objects under one number."""
_EMPTY_MARKS = frozenset({"na", "n/a", "#n/a", "<na>", "nan", "none", "null", "-", "?"})
"""An empty cell among numbers, as tables write it; among words these are words."""
_OURS = ("identity", "camera", "time", "split")


def written_columns(
    images: str | Path | Sequence[str | Path],
    records: Sequence[Record],
    *,
    identity_from: IdentityFrom = "table",
    options: TableOptions | None = None,
) -> Columns:
    """The columns that images came with.

    Args:
        images: The source of the records.
        records: Its images.
        identity_from: Where identities come from: ``table``: the column of the manifest, so none for other images;
            ``folder``: the name of the folder an image lies in; ``name``: the number before the camera in its file
            name (``0042_c3...`` is 42); -1 and 0000, Market-1501's junk and distractors, are none.
        options: Names of a table's columns and the form of its times.

    Returns:
        A list as long as ``records`` for each column, in their order. A table's columns under their names (lower case,
        what is neither a letter nor a digit as ``_``): identities and cameras as text, the column ``time`` as
        ``datetime``, others as numbers where all their cells are; for other images ``camera``, where a file's name
        has one. Columns without any value are left out.

    Raises:
        InputError: As ``listed_images``; if a cell of ``time`` is no time.
    """
    tables = _tables(images)
    if tables:
        columns = _of_tables(listed_images(tables, options), records)
    else:
        columns = {"camera": [_text_or_none(camera_in_name(record.path)) for record in records]}
    if identity_from == "folder":
        folders = [record.path.parent.name or record.path.resolve().parent.name for record in records]
        columns["identity"] = without_placeholders(folders)[0]
    elif identity_from == "name":
        found = [_IDENTITY_IN_NAME.match(record.path.stem) for record in records]
        columns["identity"] = [
            None if match is None or _NO_IDENTITY.fullmatch(match[1]) else match[1] for match in found
        ]
    return {name: values for name, values in columns.items() if any(value is not None for value in values)}


def _tables(images: str | Path | Sequence[str | Path]) -> dict[str, Path]:
    """The tables among what may be given as images: a table, one for each split, or their common beginning."""
    if not isinstance(images, str | Path):
        return {}
    path = Path(images)
    if path.is_file():
        return {"": path} if path.suffix.lower() in SUFFIXES else {}
    if names_splits(str(images)) and not path.exists():
        return tables_of_splits(str(images))
    return manifests_of_prefix(path) if path.name and not path.exists() else {}


def _of_tables(listed: ListedImages, records: Sequence[Record]) -> Columns:
    """The columns of tables in the order of records; an image in several splits has a row for each."""
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
        if name not in _OURS:
            # Over all tables: what is text in one of them is text.
            cells = _typed([_plain(cell) for cell in cells])
        columns[name] = [None if row is None else cells[row] for row in rows]
    return columns


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


def _text_or_none(value: int | None) -> str | None:
    return None if value is None else str(value)
