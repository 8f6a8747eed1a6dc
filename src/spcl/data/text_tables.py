"""CSV tables and lists of paths as columns of cells: their separator, quotes, first lines, and the line of each row.

The encoding is recognised in ``text_files.py``; what columns mean is in ``table_files.py``.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

from spcl.data.formula_cells import from_text
from spcl.data.text_files import read_text
from spcl.errors import InputError

Cells = tuple[list[str], list[list[Any]], Sequence[int], tuple[str, ...]]
"""The names of the columns, the cells of each column, the line of each row, and notes."""

_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}
_LIKELY_PATHS = ("file", "filename", "file_name", "filepath", "file_path", "image", "image_path", "img", "img_path")
_MOST_BEFORE = 50
"""Number of lines in which the names of the columns are searched."""
_END = "\x02end of the table"


def read_text_table(path: Path, renamed: dict[str, str]) -> Cells:
    """Read a CSV table, or a ``.txt`` list of paths.

    Args:
        path: Path of the file.
        renamed: The table's name of each of our columns, where it differs.

    Raises:
        InputError: If it is no text, is empty, or a row has more cells than there are columns.
    """
    text, notes = read_text(path)
    names, columns, lines, notes = cells_of_text(path, text, notes, renamed)
    with path.open("rb") as file:
        is_of_spreadsheet = file.read(3) == codecs.BOM_UTF8
    if is_of_spreadsheet:
        columns = [[from_text(cell) if isinstance(cell, str) else cell for cell in column] for column in columns]
    return names, columns, lines, notes


def cells_of_text(path: Path, text: str, notes: tuple[str, ...], renamed: dict[str, str]) -> Cells:
    """Give the cells of the text of a table.

    Args:
        path: Path of the file, for messages; its ending says whether it may be a list of paths.
        text: Text of the file, or a part of it that begins with its first line.
        notes: Notes on the reading of the text, which are kept.
        renamed: The table's name of each of our columns, where it differs.

    Raises:
        InputError: If it is empty, or a row has more cells than there are columns.
    """
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
    """The format of a text table: separator, quote, number of lines before the names, and name of the path column."""

    separator: str
    quote: str
    skipped: int
    path_column: str


def _header(text: str, path_column: str) -> tuple[str, str, int]:
    """The line of the names, the separator that an earlier line gives (else empty), and the number of earlier lines."""
    separator = ""
    for before, line in enumerate(islice(filter(str.strip, io.StringIO(text, newline=None)), _MOST_BEFORE)):
        # The first line of some spreadsheets; remarks of the program that wrote the table.
        named = re.fullmatch(r"(?i)sep=(.)\s*", line)
        is_remark = line.startswith("#") and not any(_has(line, mark, path_column) for mark in _SEPARATORS)
        if not (named or is_remark):
            return line, separator, before
        separator = named[1] if named else separator
    return "", "", 0


def _quote(header: str, separator: str) -> str:
    """The quote of cells: a single quote where all names are in single quotes."""
    names = [name.strip() for name in header.split(separator)]
    return "'" if all(len(name) > 2 and name[0] == name[-1] == "'" for name in names) else '"'


def _list_of_paths(text: str, notes: tuple[str, ...]) -> Cells:
    listed = [(number, line) for number, line in enumerate(io.StringIO(text, newline=None), start=1) if line.strip()]
    return ["path"], [[line.rstrip("\n") for _, line in listed]], [number for number, _ in listed], notes


def _separator(header: str, path_column: str) -> str:
    """The separator of a header: the one that gives a path column, and then the most columns."""
    found = [(_has(header, separator, path_column), len(_cells(header, separator))) for separator in _SEPARATORS]
    return list(_SEPARATORS)[max(range(len(found)), key=lambda at: (*found[at], -at))]


def _has(header: str, separator: str, name: str) -> bool:
    return name.strip().lower() in (cell.strip().strip("'").lower() for cell in _cells(header, separator))


def _cells(line: str, separator: str) -> list[str]:
    with suppress(csv.Error):
        return next(csv.reader([line.rstrip("\r\n")], delimiter=separator, skipinitialspace=True), [])
    return []


def _rows(path: Path, text: str, form: _Form) -> tuple[list[str], list[list[str]], list[int]]:
    """The names of the columns, the rows that are not empty, and the line of each row."""
    # If a quote is not closed, the mark of the end is in the last cell.
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
                    raise no_path_column(path, [name.strip().lower() for name in names])
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


def no_path_column(path: Path, names: Sequence[str]) -> InputError:
    """The error for a table without a column of paths, which suggests the column that may hold them."""
    likely = next((name for name in names if name in _LIKELY_PATHS), "NAME")
    return InputError(
        f"the table {path} has no column 'path'; it has {', '.join(names)}. Expected path and, where they "
        f"are known, identity, camera, time, split; columns of other names are given with --columns path={likely}",
        code="no-such-column",
    )
