"""The files of the paths in a table: one rule for every table.

Relative paths are relative to the table's folder. If none of these files exists, but some exist relative to the
current folder, that folder is used, with a note: tables are moved, and programs write paths relative to their folder.
"""

# Path objects cost several times as much as strings, which counts for a million images.
# ruff: noqa: PTH100, PTH109, PTH113, PTH117, PTH118, PTH208

from __future__ import annotations

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from spcl.data.image_key import kept_path
from spcl.data.table_files import Table

_QUOTES = ('"', "'", "`", "“”", "‘’", "«»")
_ESCAPED = re.compile(r"\\(?:udc([0-9a-f]{2})|x([0189][0-9a-f]|7f)|([nr]))")
_STATS_A_FOLDER = 20
_SAMPLE = 500

_CLEANED = "without the blanks or quotes around them"
_SLASHED = "with slashes in place of backslashes"


@dataclass(frozen=True)
class TablePaths:
    """The files of the rows of a table.

    Attributes:
        paths: Absolute path of each row's file, its links not resolved.
        is_there: Whether each file exists.
        notes: Remarks on paths that were changed to find the files, in sentences.
    """

    paths: list[Path]
    is_there: list[bool]
    notes: tuple[str, ...]


def paths_of(table: Table) -> TablePaths:
    """Find the file of each row.

    A path is used unchanged if such a file exists. Otherwise blanks and quotes around it are removed, backslashes are
    read as slashes, the escapes of our own tables are undone, and letters with accents are tried in their composed and
    decomposed spelling.
    """
    written = [str(cell) for cell in table.columns["path"]]
    folder = os.path.abspath(table.file.parent)
    files = _Files()
    found = [files.first_there(folder, text) for text in written]
    notes: tuple[str, ...] = ()
    relative = [row for row, text in enumerate(written) if not os.path.isabs(plain_path(text))]
    here = os.getcwd()
    if relative and here != folder and all(found[row] is None for row in relative):
        others = {row: files.first_there(here, written[row]) for row in relative}
        if any(other is not None for other in others.values()):
            for row, other in others.items():
                found[row] = other
            folder = here
            notes = (
                f"{table.file}: its paths are relative to the current folder, because none of the files is in the "
                "table's folder",
            )
    kinds = Counter(kind for _, kind in filter(None, found) if kind)
    notes += tuple(f"{table.file}: {count} path(s) are read {kind}" for kind, count in kinds.items())
    meant = [
        one[0] if one is not None else os.path.join(folder, plain_path(text))
        for one, text in zip(found, written, strict=True)
    ]
    return TablePaths(_kept_paths(meant), [one is not None for one in found], notes)


def are_all_missing(table: Table) -> bool:
    """Whether no row of a large table has a file, found out before each row is looked for in every spelling.

    Some rows, evenly spaced, are looked for as ``paths_of`` does. Where none of them has a file, the files of all rows
    are looked for as they are written.

    Cost: one listing of each folder, and O(N) comparisons of text.
    """
    written = table.columns["path"]
    folders = list(dict.fromkeys((os.path.abspath(table.file.parent), os.getcwd())))
    files = _Files()
    step = max(1, len(written) // _SAMPLE)
    for text in map(str, written[::step]):
        if any(files.first_there(folder, text) is not None for folder in folders):
            return False
    return not any(
        files.is_there(os.path.join(folder, text))
        for text in map(str, written)
        if "\0" not in text
        for folder in folders
    )


def _kept_paths(paths: Sequence[str]) -> list[Path]:
    """Give the ``kept_path`` of each path; each folder is resolved once."""
    folders: dict[str, Path] = {}
    kept = []
    for path in paths:
        folder, name = os.path.split(path)
        if name in ("", ".", ".."):
            kept.append(kept_path(path))
            continue
        if folder not in folders:
            folders[folder] = kept_path(folder)
        kept.append(folders[folder] / name)
    return kept


class _Files:
    """Whether files exist; a folder with many requested files is listed once."""

    def __init__(self) -> None:
        self._asked: Counter[str] = Counter()
        self._names: dict[str, frozenset[str]] = {}
        self._is_loose: dict[str, bool] = {}

    def first_there(self, folder: str, text: str) -> tuple[str, str] | None:
        """The first spelling of a path for which a file exists, and its difference from the text."""
        for reading, kind in _readings(text):
            path = os.path.join(folder, reading)
            if self.is_there(path):
                return path, kind
        return None

    def is_there(self, path: str) -> bool:
        """Whether a path is that of a file."""
        folder, name = os.path.split(path)
        self._asked[folder] += 1
        if self._asked[folder] > _STATS_A_FOLDER and folder not in self._names:
            try:
                self._names[folder] = frozenset(os.listdir(folder))
                self._is_loose[folder] = _is_loose(folder, self._names[folder])
            except OSError as error:
                self._names[folder] = frozenset()
                # In a folder that is there and cannot be listed, files may be found by their names.
                self._is_loose[folder] = isinstance(error, PermissionError)
        names = self._names.get(folder)
        if names is not None and (name in names or not self._is_loose[folder]):
            return name in names
        return os.path.isfile(path)


def _is_loose(folder: str, names: frozenset[str]) -> bool:
    """Whether a folder finds files by names that it does not list: in capitals, or with accents decomposed."""
    some = next((name for name in names if name.isascii() and name.swapcase() not in names), None)
    return some is None or os.path.lexists(os.path.join(folder, some.swapcase()))


def _readings(text: str) -> Iterator[tuple[str, str]]:
    if "\0" in text:
        return
    yield text, ""
    bare = _bare(text)
    if bare != text:
        yield bare, _CLEANED
    slashed = plain_path(text)
    if slashed != bare:
        yield slashed, _SLASHED
    if _ESCAPED.search(bare):
        yield _ESCAPED.sub(_unescaped, bare), ""
    # macOS decomposes the names of files; other programs write them composed.
    for spelt in (unicodedata.normalize("NFC", slashed), unicodedata.normalize("NFD", slashed)):
        if spelt != slashed:
            yield spelt, ""


def plain_path(text: str) -> str:
    """A path without blanks and quotes around it, with slashes."""
    bare = _bare(text)
    return bare.replace("\\", "/") if os.sep == "/" else bare


def _bare(text: str) -> str:
    bare = text.strip()
    for quote in _QUOTES:
        if len(bare) > 2 and bare[0] == quote[0] and bare[-1] == quote[-1]:
            return bare[1:-1].strip()
    return bare


def _unescaped(found: re.Match[str]) -> str:
    """Undo the escape of a byte that is not UTF-8, of a control character, or of a line break, as in ``broken.csv``."""
    if found[1]:
        return os.fsdecode(bytes([int(found[1], 16)]))
    if found[2]:
        return chr(int(found[2], 16))
    return "\n" if found[3] == "n" else "\r"
