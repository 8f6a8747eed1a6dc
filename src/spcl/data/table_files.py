"""Tables as columns of cells: CSV of any common separator and encoding, lists of paths, Parquet.

Here bytes become cells; what the cells say of images is in ``table_dataset.py``. Nothing heavy is imported, so that a
mistake in a table is reported at once; Parquet is imported for Parquet alone.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

from spcl.data.image_files import what_is_there
from spcl.data.table_options import TableOptions
from spcl.data.text_files import read_text
from spcl.errors import InputError, first_line

SUFFIXES = (".csv", ".tsv", ".txt", ".parquet")
"""Endings of the tables that can be read."""

_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}
_LIKELY_PATHS = ("file", "filename", "file_name", "filepath", "file_path", "image", "image_path", "img", "img_path")
_MOST_BEFORE = 50
"""Lines that are looked at for the names of the columns."""
_END = "\x02end of the table"


@dataclass(frozen=True)
class Table:
    """A table as it is written.

    Attributes:
        file: The table's file.
        columns: Cells by name of the column (lower case, blanks around it removed). Cells of text files are text
            without blanks around them (those of ``path`` as they are), empty ones None; cells of Parquet are what
            Parquet holds.
        lines: The line of each row in the file, from 1; of Parquet, the row, from 1.
        notes: Remarks about how the table was read, in sentences.
    """

    file: Path
    columns: dict[str, list[Any]]
    lines: Sequence[int]
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        """Rows."""
        return len(self.lines)

    def place(self, row: int) -> str:
        """Where a row is, for a message: ``line 3``; of Parquet ``row 2``."""
        return f"{'row' if self.file.suffix.lower() == '.parquet' else 'line'} {self.lines[row]}"


def read_table(path: Path, options: TableOptions | None = None) -> Table:
    """A table of images: at least a column ``path``.

    Args:
        path: A file that ends in ``.csv``, ``.tsv``, ``.txt`` or ``.parquet``. Separators are commas, semicolons, tabs
            or vertical bars. A ``.txt`` file without a heading ``path`` is a list of paths, one a line.
        options: Names of columns that differ.

    Raises:
        InputError: If it cannot be read, has no column ``path``, two columns of one name, no rows, a row without a path
            or with more cells than columns; if ``options`` name a column that it lacks.
    """
    renamed = (options or TableOptions()).renamed
    if not path.is_file():
        raise InputError(f"there is no table {path}; {what_is_there(path.parent)}", code="no-such-file")
    if path.suffix.lower() == ".parquet":
        names, columns, lines, notes = _read_parquet(path)
    else:
        names, columns, lines, notes = _read_text_table(path, renamed)
    named = _named(path, names, columns, renamed)
    notes += named[1]
    if not lines:
        raise InputError(f"the table {path} has no rows", code="empty-table")
    table = Table(path, named[0], lines, notes)
    for row, cell in enumerate(table.columns["path"]):
        if cell is None or not str(cell).strip():
            raise InputError(f"the table {path} has no path in {table.place(row)}", code="malformed-table")
    return table


def write_table(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]], *, mark: bool = False) -> None:
    """Write a CSV table that ``read_table`` reads back: commas, UTF-8, what is no UTF-8 as escapes.

    Args:
        path: The file, replaced without asking.
        header: Names of the columns.
        rows: Cells; None is an empty one.
        mark: For spreadsheets: with a byte-order mark, from which they know the encoding, and their ends of lines.
    """
    encoding = "utf-8-sig" if mark else "utf-8"
    with path.open("w", newline="", encoding=encoding, errors="backslashreplace") as file:
        end = "\r\n" if mark else "\n"
        plain, exact = csv.writer(file, lineterminator=end), csv.writer(file, quoting=csv.QUOTE_ALL, lineterminator=end)
        plain.writerow(header)
        for row in rows:
            cells = ["" if cell is None else str(cell) for cell in row]
            # Blanks at the ends of a name are part of it: quoted, every reader keeps them.
            (exact if any(cell != cell.strip() for cell in cells) else plain).writerow(cells)


_Read = tuple[list[str], list[list[Any]], Sequence[int], tuple[str, ...]]


def _read_parquet(path: Path) -> _Read:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
        # What pandas calls an index, and the vectors of a features file, describe no image.
        wanted = [f.name for f in file.schema_arrow if not (pa.types.is_nested(f.type) or f.name.startswith("__index"))]
        table = file.read(columns=wanted)
        columns = [_plain_column(table.column(name)) for name in wanted]
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"the table {path} cannot be read: {first_line(error)}", code="damaged-file") from error
    return wanted, columns, range(1, table.num_rows + 1), ()


def _plain_column(column: Any) -> list[Any]:
    import pyarrow as pa

    if pa.types.is_timestamp(column.type) and column.type.unit == "ns":
        # Python's times have microseconds.
        column = column.cast(pa.timestamp("us", column.type.tz), safe=False)
    cells: list[Any] = column.to_pylist()
    cells = [cell.decode("utf-8", "backslashreplace") if isinstance(cell, bytes) else cell for cell in cells]
    return [None if cell is None or cell != cell else cell for cell in cells]


def _read_text_table(path: Path, renamed: dict[str, str]) -> _Read:
    text, notes = read_text(path)
    path_column = renamed.get("path", "path")
    header, separator, skipped = _header(text, path_column)
    separator = separator or _separator(header, path_column)
    if path.suffix.lower() == ".txt" and not _has(header, separator, path_column):
        return _list_of_paths(text, notes)
    if separator not in (",", "\t" if path.suffix.lower() == ".tsv" else ","):
        notes += (f"{path}: columns are separated by {_SEPARATORS.get(separator, repr(separator))}",)
    names, rows, lines = _rows(path, text, _Form(separator, _quote(header, separator), skipped, path_column))
    columns: list[list[Any]] = [[] for _ in names]
    for row in rows:
        for at, column in enumerate(columns):
            column.append(row[at] if at < len(row) and row[at].strip() else None)
    return names, columns, lines, notes


@dataclass(frozen=True)
class _Form:
    """How a text table is written: what separates and quotes its cells, and how many lines are before the names."""

    separator: str
    quote: str
    skipped: int
    path_column: str


def _header(text: str, path_column: str) -> tuple[str, str, int]:
    """The line of the names, the separator that a line before it gives (else empty), and how many lines are before."""
    separator = ""
    for before, line in enumerate(islice(filter(str.strip, io.StringIO(text, newline=None)), _MOST_BEFORE)):
        # A spreadsheet's own first line; remarks of the program that wrote the table.
        named = re.fullmatch(r"(?i)sep=(.)\s*", line)
        is_remark = line.startswith("#") and not any(_has(line, mark, path_column) for mark in _SEPARATORS)
        if not (named or is_remark):
            return line, separator, before
        separator = named[1] if named else separator
    return "", "", 0


def _quote(header: str, separator: str) -> str:
    """What quotes cells: single quotes where all names stand in them."""
    names = [name.strip() for name in header.split(separator)]
    return "'" if all(len(name) > 2 and name[0] == name[-1] == "'" for name in names) else '"'


def _list_of_paths(text: str, notes: tuple[str, ...]) -> _Read:
    listed = [(number, line) for number, line in enumerate(io.StringIO(text, newline=None), start=1) if line.strip()]
    return ["path"], [[line.rstrip("\n") for _, line in listed]], [number for number, _ in listed], notes


def _separator(header: str, path_column: str) -> str:
    """What separates the names of a header: where it has a path column, and the most columns."""
    found = [(_has(header, separator, path_column), len(_cells(header, separator))) for separator in _SEPARATORS]
    return list(_SEPARATORS)[max(range(len(found)), key=lambda at: (*found[at], -at))]


def _has(header: str, separator: str, name: str) -> bool:
    return name.strip().lower() in (cell.strip().strip("'").lower() for cell in _cells(header, separator))


def _cells(line: str, separator: str) -> list[str]:
    with suppress(csv.Error):
        return next(csv.reader([line.rstrip("\r\n")], delimiter=separator, skipinitialspace=True), [])
    return []


def _rows(path: Path, text: str, form: _Form) -> tuple[list[str], list[list[str]], list[int]]:
    """The names of the columns, the rows that hold something, and the line of each."""
    # Where a quote is not closed, the end is inside the last cell.
    lines_of_file = chain(io.StringIO(text, newline=""), [_END])
    reader = csv.reader(lines_of_file, delimiter=form.separator, quotechar=form.quote, skipinitialspace=True)
    skipped = form.skipped
    names: list[str] | None = None
    rows: list[list[str]] = []
    lines: list[int] = []
    before = 0
    try:
        for row in reader:
            line, before = before + 1, reader.line_num
            if row == [_END]:
                break
            if row and _END in row[-1]:
                raise InputError(
                    f"the table {path} has a quote in line {line} that is not closed; close it", code="malformed-table"
                )
            if not any(cell.strip() for cell in row):
                continue
            if skipped:
                skipped -= 1
                continue
            if names is None:
                names = row
                continue
            if any(cell.strip() for cell in row[len(names) :]):
                if not _has(form.separator.join(names), form.separator, form.path_column):
                    raise _no_path_column(path, [name.strip().lower() for name in names])
                raise InputError(
                    f"the table {path} has {len(row)} cells in line {line} and {len(names)} columns; quote texts "
                    f"that hold {_SEPARATORS.get(form.separator, repr(form.separator))}",
                    code="malformed-table",
                )
            rows.append(row)
            lines.append(line)
    except csv.Error as error:
        raise InputError(
            f"the table {path} cannot be read in line {before + 1}: {error}", code="malformed-table"
        ) from error
    if names is None:
        raise InputError(
            f"the table {path} is empty; expected a line with the names of its columns, path among them",
            code="empty-table",
        )
    return names, rows, lines


def _named(
    path: Path, names: Sequence[str], columns: Sequence[list[Any]], renamed: dict[str, str]
) -> tuple[dict[str, list[Any]], tuple[str, ...]]:
    """Columns by name, some of them renamed, and notes on those that are left out."""
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
            notes += (f"{path}: its own column {ours!r} is not used, for {renamed[ours]!r} takes its place",)
    kept = {name: column for name, column in by_name.items() if name not in (*given, *given.values())}
    result = {ours: by_name[theirs] for ours, theirs in given.items()} | kept
    if "path" not in result:
        raise _no_path_column(path, list(by_name))
    return {
        name: column if name == "path" else [_plain(cell) for cell in column] for name, column in result.items()
    }, notes


def _no_path_column(path: Path, names: Sequence[str]) -> InputError:
    likely = next((name for name in names if name in _LIKELY_PATHS), "NAME")
    return InputError(
        f"the table {path} has no column 'path'; it has {', '.join(names)}. Expected path and, where they "
        f"are known, identity, camera, time, split; columns of other names are given with --columns path={likely}",
        code="no-such-column",
    )


def _plain(cell: Any) -> Any:
    return (cell.strip() or None) if isinstance(cell, str) else cell
