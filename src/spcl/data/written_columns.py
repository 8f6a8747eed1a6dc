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

import numpy as np
import pandas as pd

from spcl.data.from_folders import camera_in_name
from spcl.data.from_manifest import SUFFIXES, names_splits, read_manifest
from spcl.errors import InputError
from spcl.records import Record

IdentityFrom = Literal["table", "folder", "name"]
Columns = dict[str, list[Any]]

_IDENTITY_IN_NAME = re.compile(r"^(-?\d+)_c", re.IGNORECASE)
_NO_IDENTITY = re.compile(r"-1|0+")
"""Market-1501's junk and distractors: different objects under one number."""
_EMPTY_MARKS = frozenset({"na", "n/a", "#n/a", "<na>", "nan", "none", "null"})
"""An empty cell among numbers or times, as tables write it; among words these are words."""
_NOT_WRITTEN = ("path", "vector")
_AS_WRITTEN = ("identity", "camera", "time")


def written_columns(
    images: str | Path | Sequence[str | Path], records: Sequence[Record], *, identity_from: IdentityFrom = "table"
) -> Columns:
    """The columns that images came with.

    Args:
        images: What ``find_crops`` was given.
        records: What it found there.
        identity_from: Where identities come from: ``table``: the column of the manifest, so none for other images;
            ``folder``: the name of the folder an image lies in; ``name``: the number before the camera in its file
            name (``0042_c3...`` is 42); -1 and 0000, Market-1501's junk and distractors, are none.

    Returns:
        A list as long as ``records`` for each column, in their order. A manifest's columns under their names (lower
        case, what is neither a letter nor a digit as ``_``); for other images ``camera``, where a file's name tells
        one. Columns without any value are left out.

    Raises:
        InputError: If two columns of a manifest come to have one name.
    """
    columns: Columns = {}
    for table in _tables(images):
        _add_table(columns, table, records)
    # Over all tables: what is text in one of them is text.
    columns = {name: values if name in _AS_WRITTEN else _typed(values) for name, values in columns.items()}
    if "time" in columns:
        columns["time"] = [None if _is_empty_mark(value) else value for value in columns["time"]]
    if not columns:
        columns["camera"] = [_text_or_none(camera_in_name(record.path)) for record in records]
    if identity_from == "folder":
        columns["identity"] = [record.path.parent.name or record.path.resolve().parent.name for record in records]
    elif identity_from == "name":
        found = [_IDENTITY_IN_NAME.match(record.path.stem) for record in records]
        columns["identity"] = [
            None if match is None or _NO_IDENTITY.fullmatch(match[1]) else match[1] for match in found
        ]
    return {name: values for name, values in columns.items() if any(value is not None for value in values)}


def _tables(images: str | Path | Sequence[str | Path]) -> list[Path]:
    """The manifests among what ``find_crops`` takes: a table, or ``train=a.csv,query=b.csv``."""
    if not isinstance(images, str | Path):
        return []
    path = Path(images)
    if path.is_file():
        return [path] if path.suffix.lower() in SUFFIXES else []
    if names_splits(str(images)) and not path.exists():
        return [Path(part.partition("=")[2].strip()) for part in str(images).split(",")]
    return []


def _add_table(columns: Columns, path: Path, records: Sequence[Record]) -> None:
    table = read_manifest(path)
    shared = {name: re.sub(r"\W+", "_", name) for name in table.columns if name not in _NOT_WRITTEN}
    first_of: dict[str, str] = {}
    for name, plain in shared.items():
        if first_of.setdefault(plain, name) != name:
            raise InputError(
                f"{path} has the columns {first_of[plain]!r} and {name!r}, which both become {plain!r}; rename one"
            )
    row_of = {path.parent / str(value): row for row, value in enumerate(table["path"])}
    rows = [row_of.get(record.path) for record in records]
    for name, plain in shared.items():
        cells = [_plain(value) for value in table[name]]
        known = columns.setdefault(plain, [None] * len(records))
        for at, row in enumerate(rows):
            if row is not None:
                known[at] = cells[row]


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
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, str):
        return value.strip() or None
    if isinstance(value, datetime | pd.Timestamp):
        return None if pd.isna(value) else value
    if value is None or (isinstance(value, float) and np.isnan(value)) or value is pd.NaT or value is pd.NA:
        return None
    return value if isinstance(value, bool | int | float) else str(value)


def _text_or_none(value: int | None) -> str | None:
    return None if value is None else str(value)
