"""Features as a NumPy matrix, with the paths of its rows in a second file.

Both are written aside. The matrix takes its place in one rename, and at no time lies beside the paths of another
matrix: the paths are renamed aside before it, and get their name back after it. Their name aside holds size and time of
their matrix, so that after a kill the next command finds the right ones (``finish_pair``).
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path
from types import TracebackType

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from spcl.atomic_files import begin_aside, flush, raises_input_errors, remove_empty
from spcl.leftovers import aside_of, is_left, remove

_PAIR = "pair"
_ENTRY = re.compile(r"\.(?P<matrix>[0-9a-f]+-[0-9a-f]+)\.(?P<name>.*)\.[0-9a-f]{8}-[-0-9a-f]+\." + _PAIR, re.DOTALL)
_SHORTENED = 250
"""Names aside of at least this length may hold a part of the name only."""


def paths_file(path: Path) -> Path:
    """The file with the paths of a ``.npy`` file, one in each line: ``features.npy`` has ``features.paths.txt``.

    A line break inside a path is written as a backslash and an n.
    """
    return path.with_suffix(".paths.txt")


def finish_pair(path: Path) -> None:
    """Give a matrix its paths back, if the process that replaced both was killed; other paths aside are removed.

    Args:
        path: Path of the matrix.
    """
    paths = paths_file(path)
    try:
        aside = [entry.name for entry in path.parent.iterdir() if entry.name.endswith(f".{_PAIR}")]
    except OSError:
        return
    for entry in aside:
        found = _ENTRY.fullmatch(entry)
        if found is None or not _is_name_of(found["name"], paths, entry) or not is_left(entry, ending=_PAIR):
            continue
        with suppress(OSError):
            if path.exists() and found["matrix"] == _number_of(path) and not paths.exists():
                (path.parent / entry).replace(paths)
        remove(path.parent / entry)


def _is_name_of(name: str, paths: Path, entry: str) -> bool:
    return name == paths.name or (len(os.fsencode(entry)) >= _SHORTENED and paths.name.startswith(name))


def _number_of(matrix: Path) -> str:
    """Size and time of a matrix, which a rename does not change."""
    state = matrix.stat()
    return f"{state.st_size:x}-{state.st_mtime_ns:x}"


def _paths_aside(paths: Path, matrix: Path) -> Path:
    return aside_of(paths.with_name(f"{_number_of(matrix)}.{paths.name}"), _PAIR)


class MatrixWriter:
    """Writes parts of features to a ``.npy`` file, and their paths beside it.

    Args:
        path: Path of the matrix; its folder is made.
        dim: D, the length of a feature.

    Raises:
        InputError: If the files cannot be written.
    """

    def __init__(self, path: Path, dim: int) -> None:
        self._path, self._dim = path, dim
        finish_pair(path)
        self._aside, self._missing = begin_aside(path)
        try:
            self._names_aside, _ = begin_aside(paths_file(path))
        except BaseException:
            remove(self._aside)
            remove_empty(self._missing)
            raise
        self._file = self._aside.open("wb")
        self._names = self._names_aside.open("w", encoding="utf-8")
        self._rows = 0
        self._write_header()
        self._start = self._file.tell()

    def __enter__(self) -> MatrixWriter:
        """Begin."""
        return self

    @raises_input_errors
    def write(self, table: pa.Table, features: NDArray[np.float32]) -> None:
        """Add a part: rows from ``columns.described``, and their features."""
        self._file.write(np.ascontiguousarray(features, dtype="<f4").tobytes())
        self._names.writelines(f"{_in_one_line(name)}\n" for name in table.column("path").to_pylist())
        self._rows += len(features)

    def _write_header(self) -> None:
        header = {"descr": "<f4", "fortran_order": False, "shape": (self._rows, self._dim)}
        np.lib.format.write_array_header_1_0(self._file, header)

    @raises_input_errors
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Put both files in place, unless there was an error."""
        try:
            if kind is None:
                self._complete()
                self._put_in_place()
        finally:
            for file in (self._file, self._names):
                with suppress(OSError):  # what is left in the buffer of a full disk
                    file.close()
            remove(self._aside)
            remove(self._names_aside)
            remove_empty(self._missing)

    def _complete(self) -> None:
        self._file.seek(0)
        self._write_header()
        if self._file.tell() != self._start:
            raise RuntimeError("the header of the NumPy file has become longer and overwrote rows")
        self._file.close()
        self._names.close()
        flush(self._aside)
        flush(self._names_aside)

    def _put_in_place(self) -> None:
        """Rename both files; an error or Ctrl-C between the renames leaves the former pair or the new one."""
        paths = paths_file(self._path)
        new = _paths_aside(paths, self._aside)
        former = _paths_aside(paths, self._path) if self._path.exists() else aside_of(paths)
        try:
            self._names_aside.replace(new)
            if paths.exists():
                paths.replace(former)
            self._aside.replace(self._path)
            new.replace(paths)
        except BaseException:
            if not self._aside.exists():
                if new.exists():
                    new.replace(paths)
            elif former.exists():
                former.replace(paths)
            raise
        finally:
            remove(new)
            remove(former)


def _in_one_line(name: str) -> str:
    """A path without line breaks, so that every row of the matrix has one line."""
    return name.replace("\r", "\\r").replace("\n", "\\n")
