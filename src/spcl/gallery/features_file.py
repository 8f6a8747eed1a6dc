"""Features as a file: Parquet with the columns of the images, or a NumPy matrix with the paths in a second file.

Both are written in parts under a temporary name, and renamed when they are complete; a matrix and its paths together.
A Parquet file also stores the encoder of its features; a matrix cannot.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from spcl.atomic_files import begin_aside, flush, raises_input_errors, remove_empty
from spcl.data.image_files import what_is_there
from spcl.errors import InputError, first_line
from spcl.format_versions import FEATURES, KEY, check_format
from spcl.gallery.columns import VECTOR, vectors_of, with_vectors
from spcl.gallery.matrix_file import MatrixWriter, finish_pair
from spcl.gallery.matrix_file import paths_file as paths_file
from spcl.gallery.shards import is_shards_folder, shards_of
from spcl.leftovers import remove
from spcl.nested_text import json_of

SUFFIXES = (".parquet", ".npy")
_FACTS = b"spcl"

_UNREADABLE = (pa.ArrowException, OSError, LookupError, ValueError, TypeError, AttributeError, MemoryError)
"""What pyarrow raises for damaged files; names of columns may be no UTF-8."""


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
    return _ParquetWriter(path, dim, facts) if path.suffix == ".parquet" else MatrixWriter(path, dim)


def check_suffix(path: Path) -> None:
    """Raise an ``InputError`` unless features can be written to such a file."""
    if path.suffix not in SUFFIXES:
        raise InputError(
            f"features are written to a file that ends in .parquet or .npy, not to {path}", code="wrong-file-kind"
        )


def existing_file(path: Path) -> Path | None:
    """The existing file that writing features to ``path`` would replace: the file, or the paths of a ``.npy`` file."""
    if path.suffix == ".npy":
        finish_pair(path)
    written = (path, paths_file(path)) if path.suffix == ".npy" else (path,)
    return next((file for file in written if file.exists()), None)


def is_features_file(path: Path) -> bool:
    """Whether a path is a Parquet file or a folder of shards that ``spcl embed`` wrote, and not a table of images."""
    if is_shards_folder(path):
        return True
    try:
        return path.suffix == ".parquet" and path.is_file() and _FACTS in (pq.read_schema(path).metadata or {})
    except _UNREADABLE:
        return False


class FeaturesFile:
    """A Parquet file of features, or a folder of such files (``shards.py``).

    Attributes:
        path: Path of the file or folder.
        facts: Facts in its metadata: ``fingerprint`` and others.
        dim: D, the length of a feature.
    """

    def __init__(self, path: Path) -> None:
        """Open it.

        Raises:
            InputError: If it does not exist, is damaged, or was not written by ``spcl embed``.
        """
        files = shards_of(path) if is_shards_folder(path) else [path]
        if not files or not files[0].is_file():
            raise InputError(f"there is no features file {path}: {what_is_there(path)}", code="no-such-file")
        try:
            self._files = [(file, int(pq.read_metadata(file).num_rows)) for file in files]
            schema = pq.read_schema(files[0])
        except _UNREADABLE as error:
            raise InputError(
                f"the features file {path} cannot be read: {first_line(error)}", code="damaged-file"
            ) from error
        if _FACTS not in (schema.metadata or {}) or VECTOR not in schema.names:
            raise InputError(
                f"{path} was not written by spcl embed: it does not name the encoder of its features. "
                "Write one with spcl embed CHECKPOINT IMAGES -o features.parquet",
                code="not-a-features-file",
            )
        self.path = path
        try:
            self.facts: dict[str, Any] = dict(json_of(schema.metadata[_FACTS]))
            self.dim: int = schema.field(VECTOR).type.list_size
        except (ValueError, TypeError, AttributeError) as error:
            raise InputError(
                f"the features file {path} cannot be read: {first_line(error)}", code="damaged-file"
            ) from error
        check_format(self.facts.get(KEY), FEATURES, path)

    def __len__(self) -> int:
        """Count the images."""
        return sum(rows for _, rows in self._files)

    def parts(self, rows: int = 8192) -> Iterator[tuple[pa.Table, NDArray[np.float32]]]:
        """Read the rows in batches: (columns without the vectors, features ``[n, dim]``).

        Raises:
            InputError: If a file is damaged, or a feature is NaN or infinite.
        """
        for file, _ in self._files:
            batches = self._batches(file, rows)
            while (part := self._next(batches, file)) is not None:
                yield part

    def _batches(self, file: Path, rows: int) -> Iterator[tuple[pa.Table, NDArray[np.float32]]]:
        for batch in pq.ParquetFile(file).iter_batches(rows):
            batch.validate(full=True)
            table = pa.Table.from_batches([batch]).replace_schema_metadata(None)
            vectors = vectors_of(batch.column(VECTOR), self.dim)
            if not np.isfinite(vectors).all():
                raise ValueError("it has features that are NaN or infinite")
            yield table.drop_columns([VECTOR]), vectors

    @staticmethod
    def _next(
        batches: Iterator[tuple[pa.Table, NDArray[np.float32]]], file: Path
    ) -> tuple[pa.Table, NDArray[np.float32]] | None:
        """The next batch; an error of pyarrow is the file's."""
        try:
            return next(batches, None)
        except _UNREADABLE as error:
            raise InputError(
                f"the features file {file} cannot be read: {first_line(error)}; get or make it again",
                code="damaged-file",
            ) from error


def features_table(
    table: pa.Table, features: NDArray[np.float32], dim: int, facts: Mapping[str, Any]
) -> tuple[pa.Table, dict[str, Any]]:
    """Give the table of a features file, with the facts in its metadata, and how Parquet writes it.

    Args:
        table: Rows from ``columns.described``.
        features: Their features, ``[len(table), dim]``.
        dim: D, the length of a feature.
        facts: Facts of the encoder: ``fingerprint`` and others, plain values.
    """
    metadata = {_FACTS: json.dumps({**facts, KEY: FEATURES, "dim": dim}).encode()}
    rows = with_vectors(table, features, dim).replace_schema_metadata(metadata)
    names = [name for name in rows.column_names if name != VECTOR]
    # Compression does not make vectors smaller.
    compression = dict.fromkeys(names, "zstd") | {f"{VECTOR}.list.element": "none"}
    return rows, {"compression": compression, "use_dictionary": names}


class _ParquetWriter:
    def __init__(self, path: Path, dim: int, facts: Mapping[str, Any]) -> None:
        self._path, self._dim = path, dim
        self._facts = facts
        self._aside, self._missing = begin_aside(path)
        self._writer: pq.ParquetWriter | None = None

    def __enter__(self) -> _ParquetWriter:
        return self

    @raises_input_errors
    def write(self, table: pa.Table, features: NDArray[np.float32]) -> None:
        rows, options = features_table(table, features, self._dim, self._facts)
        if self._writer is None:
            self._writer = pq.ParquetWriter(self._aside, rows.schema, **options)
        self._writer.write_table(rows)

    @raises_input_errors
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._writer is not None:
                self._close(self._writer, failed=kind is not None)
        finally:
            remove(self._aside)
            remove_empty(self._missing)

    def _close(self, writer: pq.ParquetWriter, *, failed: bool) -> None:
        self._writer = None
        try:
            writer.close()
        except OSError:
            # After a full disk the end cannot be written either; the first error is the one that is raised.
            if not failed:
                raise
            return
        if not failed:
            flush(self._aside)
            self._aside.replace(self._path)
