"""The table of a gallery on disk. The only file that knows LanceDB.

A write is one version, which is there as a whole or not at all, whatever is killed. A read takes a ``Snapshot`` and
sees one version from its first row to its last, whatever is written meanwhile.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from spcl.data.files import what_is_there
from spcl.errors import InputError, first_line
from spcl.gallery.columns import OWN_COLUMNS, VECTOR, kind_of, vector_type, vectors_of
from spcl.gallery.filters import refused

_TABLE = "images"
_ROW_ID = "_rowid"
_DISTANCE = "_distance"
_FACTS = b"spcl"
_INDEX = "vector_index"
_INDEX_CACHE = 768 * 2**20
_METADATA_CACHE = 128 * 2**20
_ROWS_AT_ONCE = 8192
# A reader of an older version has long finished by then.
_KEEP_VERSIONS = timedelta(hours=1)


class Snapshot:
    """One version of a gallery's table.

    Attributes:
        schema: Its columns.
        dim: Length of a vector.
    """

    def __init__(self, table: Any) -> None:
        self._table = table
        self.schema: pa.Schema = table.schema
        self.dim: int = self.schema.field(VECTOR).type.list_size

    @property
    def facts(self) -> dict[str, Any]:
        """What was written down when the gallery was made."""
        return dict(json.loads((self.schema.metadata or {}).get(_FACTS, b"{}")))

    def count(self, where: str | None = None) -> int:
        """Rows, or rows that pass a filter.

        Raises:
            InputError: If the filter cannot be used.
        """
        try:
            return int(self._table.count_rows(where))
        except (ValueError, RuntimeError) as error:
            if where is None:
                raise
            # What follows is a place in the store's own source.
            reason = re.sub(r",?\s*/\S+\.rs:\S+$", "", first_line(error)).removeprefix("Invalid input, ").rstrip(" .")
            raise refused(where, reason, self.schema) from error

    def scan(
        self, columns: Sequence[str], where: str | None = None, rows: int = _ROWS_AT_ONCE
    ) -> Iterator[tuple[NDArray[np.int64], pa.RecordBatch]]:
        """All rows, or those that pass a filter, in batches: (row ids, their columns)."""
        query = self._table.search().select(list(columns)).with_row_id(True)
        if where is not None:
            query = query.where(where)
        for batch in query.to_batches(batch_size=rows):
            if batch.num_rows:
                yield batch.column(_ROW_ID).to_numpy().astype(np.int64), batch

    def take(self, row_ids: NDArray[np.int64], columns: Sequence[str]) -> pa.Table:
        """The rows of some ids, in the order of the ids; an id may come more than once."""
        distinct = np.unique(row_ids)
        query = self._table.take_row_ids(distinct.tolist()).select(list(columns)).with_row_id()
        found = query.to_arrow()
        ids = found.column(_ROW_ID).to_numpy().astype(np.int64)
        order = np.argsort(ids)
        return found.take(pa.array(order[np.searchsorted(ids[order], row_ids)]))

    def vectors(self, row_ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """``[len(row_ids), dim]``: the vectors of some rows."""
        return vectors_of(self.take(row_ids, [VECTOR]).column(VECTOR), self.dim)

    def sample(self, num: int, rng: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Row ids and vectors of some rows, drawn without replacement."""
        count = self.count()
        offsets = np.sort(rng.choice(count, size=min(num, count), replace=False)).tolist()
        found = self._table.take_offsets(offsets).select([VECTOR]).with_row_id().to_arrow()
        return found.column(_ROW_ID).to_numpy().astype(np.int64), vectors_of(found.column(VECTOR), self.dim)

    def indexed(self) -> tuple[int, int] | None:
        """Rows that the index holds and rows that it does not; None without an index."""
        stats = self._table.index_stats(_INDEX)
        return None if stats is None else (int(stats.num_indexed_rows), int(stats.num_unindexed_rows))

    def search_index(
        self, query: NDArray[np.float32], k: int, *, probes: int, refine: int, where: str | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The nearest rows by the index, nearest first, and their squared distances; rows it lacks are compared, too.

        Args:
            query: ``[dim]``.
            k: How many.
            probes: Regions of the index that are looked through; more where a filter leaves fewer than ``k``.
            refine: So many times ``k`` candidates are compared by their full vectors.
            where: A filter.
        """
        search = self._table.search(query, vector_column_name=VECTOR).distance_type("l2").limit(k)
        search = search.maximum_nprobes(0).minimum_nprobes(probes).refine_factor(refine)
        if where is not None:
            search = search.where(where, prefilter=True)
        found = search.select([_DISTANCE]).with_row_id(True).to_arrow()
        distances: NDArray[np.float32] = found.column(_DISTANCE).to_numpy()
        return found.column(_ROW_ID).to_numpy().astype(np.int64), distances


class Store:
    """The table of a gallery and what is written to it."""

    def __init__(self, folder: Path) -> None:
        """Open it.

        Raises:
            InputError: If there is none.
        """
        if not is_gallery(folder):
            raise InputError(
                f"there is no gallery at {folder}: {what_is_there(folder)}. Make one with "
                f"spcl embed CHECKPOINT IMAGES --gallery {folder}, or with Gallery.create"
            )
        self.folder = folder
        self._database = _connect(folder)
        try:
            self.facts = self.snapshot().facts
        except (ValueError, RuntimeError, OSError) as error:
            raise InputError(f"the gallery {folder} cannot be read: {first_line(error)}") from error

    @classmethod
    def create(cls, folder: Path, dim: int, facts: Mapping[str, Any]) -> Store:
        """Make an empty table, aside, and rename it into place.

        Raises:
            InputError: If there is something already.
        """
        if is_gallery(folder):
            raise InputError(f"there is a gallery at {folder} already: open it, or give another folder")
        if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
            raise InputError(f"a gallery needs a folder of its own, and {what_is_there(folder)}")
        schema = pa.schema(
            [pa.field(name, kind, nullable=name != "path") for name, kind in OWN_COLUMNS.items()]
            + [pa.field(VECTOR, vector_type(dim), nullable=False)],
            metadata={_FACTS: json.dumps(dict(facts)).encode()},
        )
        aside = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            _connect(aside).create_table(_TABLE, schema=schema)
            if folder.exists():
                folder.rmdir()
            aside.rename(folder)
        except OSError as error:
            raise InputError(f"cannot make the gallery {folder}: {error.strerror or error}") from error
        finally:
            shutil.rmtree(aside, ignore_errors=True)
        return cls(folder)

    def snapshot(self) -> Snapshot:
        """The newest version, for reading."""
        return Snapshot(self._table())

    def check_columns(self, rows: pa.Table) -> None:
        """Whether rows, with or without vectors, can be put: the same ``InputError``, before any work."""
        for field in self.snapshot().schema:
            if field.name in rows.column_names:
                _fitting(rows.column(field.name), field)

    def put(self, rows: pa.Table) -> tuple[int, int]:
        """Add rows; one whose path is there already takes its place. One version, whole or not at all.

        Args:
            rows: With vectors, each path once.

        Returns:
            How many were added, and how many took another's place.

        Raises:
            InputError: If a column has values of another kind than it has in the gallery.
        """
        self.add_columns(rows.schema)
        table = self._table()
        fitted = _fitted(rows, table.schema)
        merge = table.merge_insert("path").when_matched_update_all().when_not_matched_insert_all()
        done = merge.execute(fitted)
        return int(done.num_inserted_rows), int(done.num_updated_rows)

    def add_columns(self, schema: pa.Schema) -> None:
        """Add the columns that the table lacks, empty for the rows that are there."""
        table = self._table()
        new = [field for field in schema if field.name not in (*table.schema.names, VECTOR)]
        if new:
            table.add_columns(new)

    def delete(self, where: str) -> int:
        """Remove the rows that pass a filter; how many they were."""
        return int(self._table().delete(where).num_deleted_rows)

    def build_index(self, *, partitions: int, sample_rate: int, iterations: int) -> None:
        """Build the index anew over all rows."""
        from lancedb.index import IvfSq

        config = IvfSq(
            distance_type="l2", num_partitions=partitions, sample_rate=sample_rate, max_iterations=iterations
        )
        self._table().create_index(VECTOR, config=config, replace=True, name=_INDEX)

    def tidy(self) -> None:
        """Join the files of many small writes, take new rows into the index, drop versions older than an hour."""
        self._table().optimize(cleanup_older_than=_KEEP_VERSIONS)

    def _table(self) -> Any:
        # Each handle stays at its version: a reader gets one of its own. Caches belong to the connection.
        return self._database.open_table(_TABLE)


def is_gallery(folder: Path) -> bool:
    """Whether a folder holds a gallery."""
    return (folder / f"{_TABLE}.lance").is_dir()


def _connect(folder: Path) -> Any:
    try:
        import lancedb
    except ModuleNotFoundError as error:
        raise InputError('a gallery needs LanceDB, which is not installed: pip install "spcl[gallery]"') from error
    session = lancedb.Session(index_cache_size_bytes=_INDEX_CACHE, metadata_cache_size_bytes=_METADATA_CACHE)
    return lancedb.connect(str(folder), session=session)


def _fitted(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    """Rows with the table's columns, in its order and types."""
    columns = [
        _fitting(rows.column(field.name), field) if field.name in rows.column_names else pa.nulls(len(rows), field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def _fitting(column: pa.ChunkedArray, field: pa.Field) -> pa.ChunkedArray:
    is_number = pa.types.is_integer(column.type) and pa.types.is_floating(field.type)
    if column.type == field.type or is_number:
        return column.cast(field.type)
    if column.null_count == len(column):
        return pa.nulls(len(column), field.type)
    raise InputError(
        f"the column {field.name!r} holds {kind_of(field.type)} in this gallery; "
        f"these images have {kind_of(column.type)} there"
    )
