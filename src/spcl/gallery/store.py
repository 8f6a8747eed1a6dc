"""The table of a gallery on disk, by LanceDB: made, written to, tidied. What is read from it is in ``snapshot.py``.

A write is one version, which is there as a whole or not at all, whatever is killed. A read takes a ``Snapshot`` and
sees one version from its first row to its last, whatever is written meanwhile.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa

from spcl.data.files import what_is_there
from spcl.errors import InputError, first_line
from spcl.gallery.columns import OWN_COLUMNS, VECTOR, kind_of, vector_type
from spcl.gallery.snapshot import FACTS, VECTOR_INDEX, Snapshot, facts_of

T = TypeVar("T")

_TABLE = "images"
_FORMAT = 1
_INDEX_CACHE = 768 * 2**20
_METADATA_CACHE = 128 * 2**20
_READ_AHEAD = 128 * 2**20
_ATTEMPTS = 8
# A reader of an older version has long finished by then.
_KEEP_VERSIONS = timedelta(hours=1)


class LostRaceError(InputError):
    """Others wrote to the gallery each time before a write was done."""


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
            table = self._table()
            self.facts = facts_of(table.schema)
        except (ValueError, RuntimeError, OSError) as error:
            raise InputError(f"the gallery {folder} cannot be read: {first_line(error)}") from error
        if VECTOR not in table.schema.names or "fingerprint" not in self.facts:
            raise InputError(
                f"the table in {folder} was not made by spcl: it does not say which encoder its vectors come from"
            )
        if self.facts.get("format") != _FORMAT:
            raise InputError(
                f"the gallery {folder} has the format {self.facts.get('format')}, and this version of spcl reads "
                f"{_FORMAT}: update spcl"
            )

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
        if not folder.name:
            raise InputError(f"a gallery is made under a name of its own; give {folder / 'NAME'}, say")
        schema = pa.schema(
            [pa.field(name, kind, nullable=name != "path") for name, kind in OWN_COLUMNS.items()]
            + [pa.field(VECTOR, vector_type(dim), nullable=False)],
            metadata={FACTS: json.dumps({"format": _FORMAT, **facts}).encode()},
        )
        aside = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            table = _connect(aside).create_table(_TABLE, schema=schema)
            # Two writers that add the same new path at the same time are noticed by it; otherwise both would add it.
            table.set_unenforced_primary_key("path")
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
        done = _until_won(lambda: merge.execute(fitted))
        return int(done.num_inserted_rows), int(done.num_updated_rows)

    def add_columns(self, schema: pa.Schema) -> None:
        """Add the columns that the table lacks, empty for the rows that are there."""

        def add_what_is_lacking() -> None:
            table = self._table()
            new = [field for field in schema if field.name not in (*table.schema.names, VECTOR)]
            if new:
                table.add_columns(new)

        # Who lost finds the other's columns at the next try, and adds only what is lacking still.
        _until_won(add_what_is_lacking)

    def delete(self, where: str) -> int:
        """Remove the rows that pass a filter; how many they were."""
        return int(_until_won(lambda: self._table().delete(where)).num_deleted_rows)

    def build_index(self, *, partitions: int, sample_rate: int, iterations: int) -> None:
        """Build the index anew over all rows."""
        from lancedb.index import IvfSq

        config = IvfSq(
            distance_type="l2", num_partitions=partitions, sample_rate=sample_rate, max_iterations=iterations
        )
        _until_won(lambda: self._table().create_index(VECTOR, config=config, replace=True, name=VECTOR_INDEX))

    def index_columns(self) -> None:
        """Index the columns that filters name and that have no index yet: a filter then need not read every row.

        New rows are found all the same, and taken into these indexes by ``tidy``. Not the paths: a write looks its
        rows up by them, which is best left as it is.
        """
        from lancedb.index import Bitmap, BTree

        table = self._table()
        indexed = {name for index in table.list_indices() for name in index.columns}
        for field in table.schema:
            if field.name not in (*indexed, VECTOR, "path"):
                few_values = field.name == "camera" or pa.types.is_boolean(field.type)
                self._index_column(field.name, Bitmap() if few_values else BTree())

    def _index_column(self, column: str, config: Any) -> None:
        _until_won(lambda: self._table().create_index(column, config=config, replace=True, name=f"{column}_index"))

    def tidy(self) -> None:
        """Join the files of many small writes, take new rows into the index, drop versions older than an hour.

        Where others write all the time it may not come to it; nothing is lost by waiting for the next time.
        """
        with suppress(LostRaceError):
            _until_won(lambda: self._table().optimize(cleanup_older_than=_KEEP_VERSIONS))

    def _table(self) -> Any:
        # Each handle stays at its version: a reader gets one of its own. Caches belong to the connection.
        return self._database.open_table(_TABLE)


def _until_won(write: Callable[[], T]) -> T:
    """Try a write again while others come first: each try starts from their version.

    Raises:
        LostRaceError: If others came first every time.
    """
    for attempt in range(_ATTEMPTS):
        try:
            return write()
        except (ValueError, RuntimeError, OSError) as error:
            if "conflict" not in str(error).lower():
                _tell_of_the_disk(error)
                raise
            time.sleep(random.uniform(0, 0.02 * 2**attempt))
    raise LostRaceError("others write to this gallery all the time; try again when they are done")


def _tell_of_the_disk(error: Exception) -> None:
    """Raise an ``InputError`` where the store says that the disk did not take a write; what was there is there."""
    found = re.search(r"LanceError\(IO\): (.*?) \(os error \d+\)", str(error))
    if found:
        raise InputError(
            f"cannot write to the gallery: {found[1]}; free some space, or make the gallery elsewhere. What was in it "
            "before this write is whole"
        ) from error


def is_gallery(folder: Path) -> bool:
    """Whether a folder holds a gallery."""
    return (folder / f"{_TABLE}.lance").is_dir()


def _connect(folder: Path) -> Any:
    # Lost races are told by their errors, and tried again: its log would fill the terminal with them.
    os.environ.setdefault("LANCEDB_LOG", "error")
    # What a scan reads ahead: 2 GiB unless told otherwise.
    os.environ.setdefault("LANCE_DEFAULT_IO_BUFFER_SIZE", str(_READ_AHEAD))
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
        f"these images have {kind_of(column.type)} there: give such values, or name the column otherwise"
    )
