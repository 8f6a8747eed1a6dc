"""Reading and writing of tables as columns of cells: CSV, lists of paths, Parquet.

``listed_images.py`` finds the images of the cells. Libraries that load slowly are not imported, so that a mistake in a
table is reported at once; pyarrow is imported only for Parquet.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spcl.data.image_files import what_is_there
from spcl.data.table_options import TableOptions
from spcl.data.text_files import as_readable
from spcl.data.text_tables import Cells, no_path_column, read_text_table
from spcl.errors import InputError, first_line

SUFFIXES = (".csv", ".tsv", ".txt", ".parquet")
"""Endings of the tables that can be read."""


@dataclass(frozen=True)
class Table:
    """The columns of cells of a table, before they are interpreted.

    Attributes:
        file: Path of the table.
        columns: Cells of each column, by its name in lower case without surrounding blanks. Cells of text files are
            text without surrounding blanks (paths are not changed), or None if empty; cells of Parquet have its types.
        lines: Line of each row in the file, from 1; for Parquet the number of the row, from 1.
        notes: Remarks on the reading of the table, in sentences.
    """

    file: Path
    columns: dict[str, list[Any]]
    lines: Sequence[int]
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.lines)

    def place(self, row: int) -> str:
        """Describe the place of a row, for a message: ``line 3``; for Parquet ``row 2``."""
        return f"{'row' if self.file.suffix.lower() == '.parquet' else 'line'} {self.lines[row]}"


def read_table(path: Path, options: TableOptions | None = None) -> Table:
    """Read a table of images, which has at least a column ``path``.

    Args:
        path: File that ends in ``.csv``, ``.tsv``, ``.txt`` or ``.parquet``. Separators are commas, semicolons, tabs
            or vertical bars. A ``.txt`` file without a heading ``path`` is a list of paths, one a line.
        options: Names of columns that differ; None: all names are ours.

    Raises:
        InputError: If the table cannot be read, has no column ``path``, two columns with one name, no rows, a row
            without a path or with more cells than columns, or lacks a column of ``options``.
    """
    renamed = (options or TableOptions()).renamed
    if not path.is_file():
        raise InputError(f"there is no table {path}: {what_is_there(path)}", code="no-such-file")
    if path.suffix.lower() == ".parquet":
        names, columns, lines, notes = _read_parquet(path)
    else:
        names, columns, lines, notes = read_text_table(path, renamed)
    named = _named(path, names, columns, renamed)
    notes += named[1]
    if not lines:
        raise InputError(f"the table {path} has no rows", code="empty-table")
    table = Table(path, named[0], lines, notes)
    for row, cell in enumerate(table.columns["path"]):
        if cell is None or not str(cell).strip() or "\0" in str(cell):
            raise InputError(f"the table {path} has no path in {table.place(row)}", code="malformed-table")
    return table


def write_table(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]], *, mark: bool = False) -> None:
    """Write a CSV table that ``read_table`` reads: commas, UTF-8, other bytes as escapes.

    Args:
        path: Path of the file, which is replaced if it exists.
        header: Names of the columns.
        rows: Cells of each row; None is an empty cell.
        mark: Whether to write a byte-order mark, by which spreadsheets recognise UTF-8, and their line ends. Cells are
            written as they are; ``formula_cells.py`` makes text of what a spreadsheet would compute.
    """
    encoding = "utf-8-sig" if mark else "utf-8"
    with path.open("w", newline="", encoding=encoding, errors="backslashreplace") as file:
        end = "\r\n" if mark else "\n"
        plain, exact = csv.writer(file, lineterminator=end), csv.writer(file, quoting=csv.QUOTE_ALL, lineterminator=end)
        plain.writerow(header)
        for row in rows:
            cells = ["" if cell is None else as_readable(str(cell)) for cell in row]
            # Blanks at the ends of a name are part of it; every reader keeps them in quoted cells.
            (exact if any(cell != cell.strip() for cell in cells) else plain).writerow(cells)


def _read_parquet(path: Path) -> Cells:
    from spcl.data.parquet_tables import read_parquet_table

    try:
        names, columns, num_rows = read_parquet_table(path)
    except (ArithmeticError, ValueError, OSError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"the table {path} cannot be read: {first_line(error)}", code="damaged-file") from error
    return names, columns, range(1, num_rows + 1), ()


def _named(
    path: Path, names: Sequence[str], columns: Sequence[list[Any]], renamed: dict[str, str]
) -> tuple[dict[str, list[Any]], tuple[str, ...]]:
    """The columns by name, renamed where asked for, and notes on columns that are left out."""
    notes: tuple[str, ...] = ()
    written: dict[str, str] = {}
    by_name: dict[str, list[Any]] = {}
    for name, column in zip(names, columns, strict=True):
        plain = name.strip().lower()
        if not plain:
            if any(cell is not None for cell in column):
                notes += (f"{path}: a column without a name is not used",)
            continue
        if plain in written:
            raise InputError(
                f"the table {path} has two columns {plain!r}: {written[plain]!r} and {name!r}; "
                "rename one of them (capitals and spaces around a name do not count)",
                code="column-given-twice",
            )
        written[plain] = name
        by_name[plain] = column
    given = {ours: theirs.lower() for ours, theirs in renamed.items()}
    for ours, theirs in given.items():
        if theirs not in by_name:
            raise InputError(
                f"--columns {ours}={renamed[ours]}: the table {path} has no column {renamed[ours]!r}; "
                f"it has {', '.join(by_name)}",
                code="no-such-column",
            )
        if ours in by_name and ours not in given.values():
            notes += (f"{path}: its own column {ours!r} is not used, because {renamed[ours]!r} takes its place",)
    kept = {name: column for name, column in by_name.items() if name not in (*given, *given.values())}
    result = {ours: by_name[theirs] for ours, theirs in given.items()} | kept
    if "path" not in result:
        raise no_path_column(path, list(by_name))
    return {
        name: column if name == "path" else [_plain(cell) for cell in column] for name, column in result.items()
    }, notes


def _plain(cell: Any) -> Any:
    return (cell.strip() or None) if isinstance(cell, str) else cell
