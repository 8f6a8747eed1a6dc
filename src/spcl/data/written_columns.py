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
from spcl.data.from_manifest import SUFFIXES, read_manifest
from spcl.records import Record

IdentityFrom = Literal["table", "folder", "name"]
Columns = dict[str, list[Any]]

_IDENTITY_IN_NAME = re.compile(r"^(-?\d+)_c", re.IGNORECASE)
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
            name (``0042_c3...`` is 42).

    Returns:
        A list as long as ``records`` for each column, in their order. A manifest's columns under their names (lower
        case, what is neither a letter nor a digit as ``_``); for other images ``camera``, where a file's name tells
        one. Columns without any value are left out.
    """
    columns: Columns = {}
    for table in _tables(images):
        _add_table(columns, table, records)
    # Over all tables: what is text in one of them is text.
    columns = {name: values if name in _AS_WRITTEN else _typed(values) for name, values in columns.items()}
    if not columns:
        columns["camera"] = [_text_or_none(camera_in_name(record.path)) for record in records]
    if identity_from == "folder":
        columns["identity"] = [record.path.parent.name or record.path.resolve().parent.name for record in records]
    elif identity_from == "name":
        found = [_IDENTITY_IN_NAME.match(record.path.stem) for record in records]
        columns["identity"] = [None if match is None else match[1] for match in found]
    return {name: values for name, values in columns.items() if any(value is not None for value in values)}


def _tables(images: str | Path | Sequence[str | Path]) -> list[Path]:
    """The manifests among what ``find_crops`` takes: a table, or ``train=a.csv,query=b.csv``."""
    if not isinstance(images, str | Path):
        return []
    path = Path(images)
    if path.is_file():
        return [path] if path.suffix.lower() in SUFFIXES else []
    if "=" in str(images) and not path.exists():
        return [Path(part.partition("=")[2].strip()) for part in str(images).split(",")]
    return []


def _add_table(columns: Columns, path: Path, records: Sequence[Record]) -> None:
    table = read_manifest(path)
    row_of = {path.parent / str(value): row for row, value in enumerate(table["path"])}
    rows = [row_of.get(record.path) for record in records]
    for name in table.columns:
        if name in _NOT_WRITTEN:
            continue
        cells = [_plain(value) for value in table[name]]
        known = columns.setdefault(re.sub(r"\W+", "_", name), [None] * len(records))
        for at, row in enumerate(rows):
            if row is not None:
                known[at] = cells[row]


def _typed(values: list[Any]) -> list[Any]:
    """Text of nothing but numbers becomes numbers: a CSV knows no others."""
    given = [value for value in values if value is not None]
    if not given or not all(isinstance(value, str) for value in given):
        return values
    # 007 is a name, not seven.
    if all(re.fullmatch(r"-?(0|[1-9]\d{0,17})", value) for value in given):
        return [None if value is None else int(value) for value in values]
    if all(re.fullmatch(r"-?(0|[1-9]\d*)(\.\d+)?([eE][-+]?\d+)?", value) for value in given):
        return [None if value is None else float(value) for value in values]
    return values


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
