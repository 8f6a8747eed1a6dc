"""The table of groups of ``spcl cluster``, before and after corrections: ``groups_found.csv`` and ``groups.csv``.

``groups.parquet`` holds the same as ``groups.csv`` with types, for other programs; this package does not read it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spcl.atomic_files import written_aside
from spcl.data.image_key import kept_path
from spcl.data.placeholders import is_placeholder
from spcl.data.table_files import read_table, write_table
from spcl.data.table_paths import paths_of
from spcl.errors import InputError

TABLE, FOUND = "groups.csv", "groups_found.csv"
"""Names of the table of groups after corrections, and of the table as the groups were found. The second is only there
after a correction."""

PARQUET = "groups.parquet"
"""Name of the table of groups after corrections for other programs."""

NO_GROUP = -1

_NUMBER = re.compile(r"\d{1,18}")

_MEANINGS = {
    "path": "absolute path of the image",
    "group": "number of its group, 0 for the largest that was found; -1: in no group",
    "confidence": "confidence that it belongs to its group, 0 to 1",
    "identity": "name of its group; null: the group has none",
}


@dataclass(frozen=True)
class GroupTable:
    """Images and their groups.

    Attributes:
        paths: Path of each of the ``N`` images, absolute.
        group: ``[N]`` int64, number of the group of each image; -1: none.
        confidence: ``[N]`` float64 from 0 to 1, as ``Groups.confidence``; 0 where the table has none.
        names: Name of each group that has one, by its number.
    """

    paths: tuple[Path, ...]
    group: NDArray[np.int64]
    confidence: NDArray[np.float64]
    names: Mapping[int, str]

    def label(self, number: int) -> str:
        """Give the name of a group, or its number where it has none."""
        return self.names.get(number, str(number))


def read_group_table(path: Path) -> GroupTable:
    """Read a table of groups, also one that a spreadsheet has saved.

    A text in the column ``group`` is a name: the groups are numbered then. A name in the column ``identity`` belongs to
    the group of its row.

    Raises:
        InputError: If the table cannot be read, or has no column ``group``.
    """
    table = read_table(path)
    cells = table.columns.get("group")
    if cells is None:
        raise InputError(
            f"the table {path} has no column 'group'; it has {', '.join(table.columns)}. Expected the groups.csv of "
            "spcl cluster",
            code="no-such-column",
        )
    group, names = _numbered(cells)
    for number, cell in zip(group.tolist(), table.columns.get("identity", ()), strict=False):
        if cell is not None and number != NO_GROUP and not is_placeholder(cell):
            names.setdefault(number, str(cell))
    return GroupTable(
        tuple(paths_of(table).paths), group, _confidence(table.columns.get("confidence"), len(group)), names
    )


def write_group_table(path: Path, table: GroupTable) -> None:
    """Write a table of groups; the file is replaced atomically.

    Columns ``path`` (absolute), ``group``, ``confidence`` and, if a group has a name, ``identity``: the name, empty for
    images of other groups.

    Raises:
        InputError: If it cannot be written.
    """
    header = ("path", "group", "confidence", *(("identity",) if table.names else ()))
    rows = zip(table.paths, table.group.tolist(), table.confidence.tolist(), strict=True)
    with written_aside(path) as aside:
        write_table(
            aside,
            header,
            (
                (kept_path(where), number, f"{sure:.4f}", table.names.get(number))[: len(header)]
                for where, number, sure in rows
            ),
        )


def write_both_tables(folder: Path, table: GroupTable) -> None:
    """Write ``groups.parquet`` and then ``groups.csv`` to a folder; each file is replaced atomically.

    Raises:
        InputError: If a file cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    numbers = table.group.tolist()
    # Another program cannot decode a name that is no text; the CSV file has escapes, too.
    paths = [str(kept_path(path)).encode("utf-8", "backslashreplace").decode() for path in table.paths]
    columns = {
        "path": pa.array(paths, pa.string()),
        "group": pa.array(numbers, pa.int64()),
        "confidence": pa.array(np.round(table.confidence, 4), pa.float64()),
        "identity": pa.array([table.names.get(number) for number in numbers], pa.string()),
    }
    fields = [pa.field(name, columns[name].type, metadata={"description": text}) for name, text in _MEANINGS.items()]
    with written_aside(folder / PARQUET) as aside:
        pq.write_table(pa.table(columns, schema=pa.schema(fields)), aside)
    write_group_table(folder / TABLE, table)


def _numbered(cells: list[Any]) -> tuple[NDArray[np.int64], dict[int, str]]:
    """Numbers of groups from the cells of a column, and the names of those that are given by a text."""
    texts = [None if cell is None or is_placeholder(cell) else str(cell) for cell in cells]
    # A longer number is a name.
    numbers = {text: int(text) for text in dict.fromkeys(texts) if text is not None and _NUMBER.fullmatch(text)}
    following = max(numbers.values(), default=-1) + 1
    names: dict[int, str] = {}
    for text in dict.fromkeys(texts):
        if text is not None and text not in numbers:
            numbers[text] = following + len(names)
            names[numbers[text]] = text
    return np.array([NO_GROUP if text is None else numbers[text] for text in texts], dtype=np.int64), names


def _confidence(cells: list[Any] | None, count: int) -> NDArray[np.float64]:
    """A column of numbers from 0 to 1; 0 where a cell is none."""
    found = np.zeros(count)
    for row, cell in enumerate(cells or ()):
        try:
            found[row] = float(str(cell).replace(",", "."))
        except ValueError:
            continue
    return np.clip(np.nan_to_num(found), 0, 1)
