"""Features as a file: Parquet with the columns of the images, or a NumPy matrix with the paths in a second file.

Both are written in parts under a temporary name, and renamed when they are complete; a matrix and its paths together.
A Parquet file also stores the encoder of its features; a matrix cannot.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from functools import wraps
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Concatenate, ParamSpec, Protocol, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from spcl.atomic_files import missing_folders, remove_empty
from spcl.data.image_files import what_is_there
from spcl.errors import InputError, first_line
from spcl.gallery.columns import VECTOR, vectors_of, with_vectors

SUFFIXES = (".parquet", ".npy")
_FACTS = b"spcl"

P = ParamSpec("P")
W = TypeVar("W", bound="_ParquetWriter | _MatrixWriter")


class FeaturesWriter(Protocol):
    """Writes parts of features; after its ``with`` block, the file is complete, or as it was before."""

    def __enter__(self) -> FeaturesWriter:
        """Begin."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Rename the file to its name, unless there was an error."""

    def write(self, table: pa.Table, features: NDArray[np.float32]) -> None:
        """Add a part: rows from ``columns.described``, and their features."""


def features_writer(path: Path, dim: int, facts: Mapping[str, Any]) -> FeaturesWriter:
    """Make a writer for a path that ends in ``.parquet`` or ``.npy``.

    Args:
        path: Path of the file to write; its folder is made.
        dim: D, the length of a feature.
        facts: Facts in the metadata of a Parquet file: ``fingerprint`` and others, plain values.

    Raises:
        InputError: If the path has another ending, or its folder cannot be written to.
    """
    check_suffix(path)
    return _ParquetWriter(path, dim, facts) if path.suffix == ".parquet" else _MatrixWriter(path, dim)


def check_suffix(path: Path) -> None:
    """Raise an ``InputError`` unless features can be written to such a file."""
    if path.suffix not in SUFFIXES:
        raise InputError(
            f"features are written to a file that ends in .parquet or .npy, not to {path}", code="wrong-file-kind"
        )


def paths_file(path: Path) -> Path:
    """The file with the paths of a ``.npy`` file, one in each line: ``features.npy`` has ``features.paths.txt``.

    A line break inside a path is written as a backslash and an n.
    """
    return path.with_suffix(".paths.txt")


def existing_file(path: Path) -> Path | None:
    """The existing file that writing features to ``path`` would replace: the file, or the paths of a ``.npy`` file."""
    written = (path, paths_file(path)) if path.suffix == ".npy" else (path,)
    return next((file for file in written if file.exists()), None)


def is_features_file(path: Path) -> bool:
    """Whether a path is a Parquet file that ``features_writer`` wrote, and not a table of images."""
    try:
        return path.suffix == ".parquet" and path.is_file() and _FACTS in (pq.read_schema(path).metadata or {})
    except (pa.ArrowInvalid, OSError):
        return False


class FeaturesFile:
    """A Parquet file of features.

    Attributes:
        path: Path of the file.
        facts: Facts in its metadata: ``fingerprint`` and others.
        dim: D, the length of a feature.
    """

    def __init__(self, path: Path) -> None:
        """Open it.

        Raises:
            InputError: If it does not exist, is damaged, or was not written by ``spcl embed``.
        """
        if not path.is_file():
            raise InputError(f"there is no features file {path}: {what_is_there(path)}", code="no-such-file")
        try:
            self._file = pq.ParquetFile(path)
        except (pa.ArrowInvalid, OSError) as error:
            raise InputError(
                f"the features file {path} cannot be read: {first_line(error)}", code="damaged-file"
            ) from error
        schema = self._file.schema_arrow
        if _FACTS not in (schema.metadata or {}) or VECTOR not in schema.names:
            raise InputError(
                f"{path} was not written by spcl embed: it does not name the encoder of its features. "
                "Write one with spcl embed CHECKPOINT IMAGES -o features.parquet",
                code="not-a-features-file",
            )
        self.path = path
        self.facts: dict[str, Any] = json.loads(schema.metadata[_FACTS])
        self.dim: int = schema.field(VECTOR).type.list_size

    def __len__(self) -> int:
        """Count the images."""
        return int(self._file.metadata.num_rows)

    def parts(self, rows: int = 8192) -> Iterator[tuple[pa.Table, NDArray[np.float32]]]:
        """Read the rows in batches: (columns without the vectors, features ``[n, dim]``)."""
        for batch in self._file.iter_batches(rows):
            table = pa.Table.from_batches([batch]).replace_schema_metadata(None)
            yield table.drop_columns([VECTOR]), vectors_of(batch.column(VECTOR), self.dim)


def _raises_input_errors(method: Callable[Concatenate[W, P], None]) -> Callable[Concatenate[W, P], None]:
    """Raise an ``InputError`` with the name of the file if the disk is full or not available."""

    @wraps(method)
    def named(writer: W, /, *args: P.args, **kwargs: P.kwargs) -> None:
        try:
            method(writer, *args, **kwargs)
        except OSError as error:
            raise InputError(
                f"cannot write {writer._path}: {error.strerror or first_line(error)}; free some space, or give another "
                "place",
                code="cannot-write",
            ) from error

    return named


class _ParquetWriter:
    def __init__(self, path: Path, dim: int, facts: Mapping[str, Any]) -> None:
        self._path, self._dim = path, dim
        self._facts = {_FACTS: json.dumps({**facts, "dim": dim}).encode()}
        self._missing = missing_folders(path)
        self._aside = _aside(path)
        self._writer: pq.ParquetWriter | None = None

    def __enter__(self) -> _ParquetWriter:
        return self

    @_raises_input_errors
    def write(self, table: pa.Table, features: NDArray[np.float32]) -> None:
        rows = with_vectors(table, features, self._dim).replace_schema_metadata(self._facts)
        names = [name for name in rows.column_names if name != VECTOR]
        # Compression does not make vectors smaller.
        compression = dict.fromkeys(names, "zstd") | {f"{VECTOR}.list.element": "none"}
        if self._writer is None:
            self._writer = pq.ParquetWriter(self._aside, rows.schema, compression=compression, use_dictionary=names)
        self._writer.write_table(rows)

    @_raises_input_errors
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._writer is not None:
                self._writer.close()
                if kind is None:
                    _flush(self._aside)
                    self._aside.replace(self._path)
        finally:
            self._aside.unlink(missing_ok=True)
            remove_empty(self._missing)


class _MatrixWriter:
    def __init__(self, path: Path, dim: int) -> None:
        self._path, self._dim = path, dim
        self._missing = missing_folders(path)
        self._aside, self._names_aside = _aside(path), _aside(paths_file(path))
        self._file: BinaryIO = self._aside.open("wb")
        self._names = self._names_aside.open("w", encoding="utf-8")
        self._rows = 0
        self._write_header()
        self._start = self._file.tell()

    def __enter__(self) -> _MatrixWriter:
        return self

    @_raises_input_errors
    def write(self, table: pa.Table, features: NDArray[np.float32]) -> None:
        self._file.write(np.ascontiguousarray(features, dtype="<f4").tobytes())
        self._names.writelines(f"{_in_one_line(name)}\n" for name in table.column("path").to_pylist())
        self._rows += len(features)

    def _write_header(self) -> None:
        header = {"descr": "<f4", "fortran_order": False, "shape": (self._rows, self._dim)}
        np.lib.format.write_array_header_1_0(self._file, header)

    @_raises_input_errors
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._file.seek(0)
            self._write_header()
            if self._file.tell() != self._start:
                raise RuntimeError("the header of the NumPy file has become longer and overwrote rows")
            self._file.close()
            self._names.close()
            if kind is None:
                _flush(self._aside)
                _flush(self._names_aside)
                self._put_in_place()
        finally:
            for file in (self._file, self._names):
                file.close()
            self._aside.unlink(missing_ok=True)
            self._names_aside.unlink(missing_ok=True)
            remove_empty(self._missing)

    def _put_in_place(self) -> None:
        """Rename both files; a stop between the two leaves the former pair, or none.

        If the process is killed, there may be paths without a matrix, but no matrix with the paths of another.
        """
        places = (self._path, paths_file(self._path))
        asides = (self._aside, self._names_aside)
        former = {place: aside.with_suffix(".old.tmp") for place, aside in zip(places, asides, strict=True)}
        try:
            for place, old in former.items():
                if place.exists():
                    place.replace(old)
            self._names_aside.replace(places[1])
            self._aside.replace(places[0])
        finally:
            # The matrix comes last, in both directions.
            if self._aside.exists():
                if not self._names_aside.exists():
                    places[1].unlink(missing_ok=True)
                for place, old in reversed(former.items()):
                    if old.exists():
                        old.replace(place)
            for old in former.values():
                old.unlink(missing_ok=True)


def _in_one_line(name: str) -> str:
    """A path without line breaks, so that every row of the matrix has one line."""
    return name.replace("\r", "\\r").replace("\n", "\\n")


def _flush(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _aside(path: Path) -> Path:
    aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Fails now, not after the work, if the folder cannot be written to.
        aside.touch()
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}", code="cannot-write") from error
    return aside
