"""The table of a gallery on disk, by LanceDB: made, written to, tidied. What is read from it is in ``snapshot.py``.

A write is one version, which is there as a whole or not at all, whatever is killed. A read takes a ``Snapshot`` and
sees one version from its first row to its last, whatever is written meanwhile.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from spcl.data.image_files import what_is_there
from spcl.errors import InputError, first_line
from spcl.gallery.columns import KEY, VECTOR, column_kind
from spcl.gallery.concurrent_writes import LostRaceError, alone, until_won
from spcl.gallery.enrolment_file import known_facts
from spcl.gallery.folder import (
    FORMAT,
    FORMAT_WITHOUT_KEYS,
    KEY_FIELD,
    TABLE,
    connected,
    is_gallery,
    make_folder,
    table_metadata,
)
from spcl.gallery.keys import ImageKeys
from spcl.gallery.migration import with_keys
from spcl.gallery.repeated_images import filled_from
from spcl.gallery.rows_file import Copied, copied_facts, read_copy
from spcl.gallery.rows_in_memory import RowsInMemory
from spcl.gallery.snapshot import VECTOR_INDEX, Snapshot, facts_of

_KEYS_AT_ONCE = 65536
# A reader of an older version has long finished by then.
_KEEP_VERSIONS = timedelta(hours=1)


@dataclass(frozen=True)
class Put:
    """What a write did.

    Attributes:
        num_added: New rows.
        num_replaced: Rows that took the place of others.
        kept: For each column, how many of these had no value of their own and kept the one that was there.
        note: Description of the conversion of an older gallery; empty: none was needed.
    """

    num_added: int
    num_replaced: int
    kept: Mapping[str, int]
    note: str


class Store:
    """The table of a gallery and what is written to it.

    Attributes:
        folder: Folder of the gallery.
        facts: Facts that were stored when the gallery was made.
        dim: Length of a vector.
        keys: Keys of the gallery's images.
    """

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
        known = known_facts(folder) or copied_facts(folder)
        if known is not None:
            self.facts, self.dim = known
        else:
            self._read_facts()
        if self.facts.get("format") not in (FORMAT_WITHOUT_KEYS, FORMAT):
            raise InputError(
                f"the gallery {folder} has the format {self.facts.get('format')}, and this version of spcl reads "
                f"{FORMAT_WITHOUT_KEYS} and {FORMAT}: update spcl"
            )
        self.keys = ImageKeys(self.facts.get("key", "path"))
        self._copied: Copied | None = None

    def _read_facts(self) -> None:
        folder = self.folder
        try:
            table = self._table()
            self.facts = facts_of(table.schema)
        except (ValueError, RuntimeError, OSError) as error:
            raise InputError(f"the gallery {folder} cannot be read: {first_line(error)}") from error
        if VECTOR not in table.schema.names or "fingerprint" not in self.facts:
            raise InputError(
                f"the table in {folder} was not made by spcl: it does not say which encoder its vectors come from"
            )
        self.dim = int(table.schema.field(VECTOR).type.list_size)

    @cached_property
    def _database(self) -> Any:
        # Not before it is needed: the import of LanceDB takes seconds of a busy machine.
        return connected(self.folder)

    @classmethod
    def create(cls, folder: Path, dim: int, facts: Mapping[str, Any]) -> Store:
        """Make an empty gallery.

        Raises:
            InputError: If there is something already, or it cannot be made.
        """
        make_folder(folder, dim, facts)
        return cls(folder)

    def snapshot(self) -> Snapshot:
        """The newest version."""
        return Snapshot(self._table())

    def reading(self, where: str | None = None) -> Snapshot:
        """The newest version for who only reads it, by one filter or none: from the copy of a small gallery's rows."""
        if not RowsInMemory.can_filter(where):
            return self.snapshot()
        self._copied = read_copy(self.folder, self._copied)
        return self.snapshot() if self._copied is None else self._copied.rows

    def check_columns(self, rows: pa.Table) -> None:
        """Whether rows, with or without vectors, can be put: the same ``InputError``, before any work."""
        for field in self.snapshot().schema:
            if field.name in rows.column_names:
                _fitting(rows.column(field.name), field)

    def put(self, rows: pa.Table) -> Put:
        """Add rows; one whose key is there already takes its place. One version, whole or not at all.

        A cell that is empty, or whose column is missing, keeps the value that is there.

        Args:
            rows: With keys and vectors, each key once.

        Raises:
            InputError: If a column has values of another kind than it has in the gallery.
        """
        with alone(self.folder):
            note = self._give_keys()
            self.add_columns(rows.schema)
            table = self._table()
            fitted, kept = filled_from(_fitted(rows, table.schema), self._held(rows.column(KEY)))
            merge = table.merge_insert(KEY).when_matched_update_all().when_not_matched_insert_all()
            done = until_won(lambda: merge.execute(fitted))
        return Put(int(done.num_inserted_rows), int(done.num_updated_rows), kept, note)

    def _held(self, keys: pa.ChunkedArray) -> pa.Table:
        """The rows of some keys as they are, without vectors."""
        snapshot = self.snapshot()
        wanted = keys.combine_chunks()
        found = [np.empty(0, dtype=np.int64)]
        for row_ids, batch in snapshot.scan([KEY], rows=_KEYS_AT_ONCE):
            found.append(row_ids[pc.is_in(batch.column(KEY), value_set=wanted).to_numpy(zero_copy_only=False)])
        names = [KEY, *(name for name in snapshot.schema.names if name != VECTOR)]
        held = np.concatenate(found)
        return snapshot.take(held, names) if len(held) else pa.table({KEY: pa.array([], pa.string())})

    def _give_keys(self) -> str:
        """Make a gallery of format 1 one of keys, as one version; a word on it, empty where it has them."""
        snapshot = self.snapshot()
        if snapshot.has_keys:
            return ""
        facts = {**self.facts, "key": "path"}
        schema = pa.schema([KEY_FIELD, *snapshot.schema], metadata=table_metadata(facts))
        rows, num_joined = with_keys(snapshot, self.folder, schema)
        # Nothing that conflicts with it: other writers of this version wait, and it replaces every row.
        until_won(lambda: self._database.create_table(TABLE, data=rows, mode="overwrite"))
        self.facts = facts_of(self._table().schema)
        joined = (
            f"; {num_joined} rows were other spellings of images that it holds, and are joined" if num_joined else ""
        )
        return (
            f"the gallery {self.folder} was of an older format: its images are known by their resolved paths now"
            f"{joined}. Versions of spcl before this one cannot read it any more"
        )

    def add_columns(self, schema: pa.Schema) -> None:
        """Add the columns that the table lacks, empty for the rows that are there."""

        def add_what_is_lacking() -> None:
            table = self._table()
            new = [field for field in schema if field.name not in (*table.schema.names, VECTOR)]
            if new:
                table.add_columns(new)

        # Who lost finds the other's columns at the next try, and adds only what is lacking still.
        until_won(add_what_is_lacking)

    def clear(self, columns: Sequence[str], where: str) -> int:
        """Empty some columns of the rows that pass a filter; how many rows they were."""
        nothing = dict.fromkeys(columns, "null")
        return int(until_won(lambda: self._table().update(where=where, values_sql=nothing)).rows_updated)

    def delete(self, where: str) -> int:
        """Remove the rows that pass a filter; how many they were."""
        return int(until_won(lambda: self._table().delete(where)).num_deleted_rows)

    def build_index(self, *, partitions: int, sample_rate: int, iterations: int) -> None:
        """Build the index anew over all rows."""
        from lancedb.index import IvfSq

        config = IvfSq(
            distance_type="l2", num_partitions=partitions, sample_rate=sample_rate, max_iterations=iterations
        )
        until_won(lambda: self._table().create_index(VECTOR, config=config, replace=True, name=VECTOR_INDEX))

    def index_columns(self) -> None:
        """Index the columns that filters name and that have no index yet: a filter then need not read every row.

        New rows are found all the same, and taken into these indexes by ``tidy``. Not the paths: a write looks its
        rows up by them, which is best left as it is.
        """
        from lancedb.index import Bitmap, BTree

        table = self._table()
        indexed = {name for index in table.list_indices() for name in index.columns}
        for field in table.schema:
            if field.name not in (*indexed, KEY, VECTOR, "path"):
                few_values = field.name == "camera" or pa.types.is_boolean(field.type)
                self._index_column(field.name, Bitmap() if few_values else BTree())

    def _index_column(self, column: str, config: Any) -> None:
        until_won(lambda: self._table().create_index(column, config=config, replace=True, name=f"{column}_index"))

    def tidy(self) -> None:
        """Join the files of many small writes, take new rows into the index, drop versions older than an hour.

        Where others write all the time it may not come to it; nothing is lost by waiting for the next time.
        """
        with suppress(LostRaceError):
            until_won(lambda: self._table().optimize(cleanup_older_than=_KEEP_VERSIONS))

    def _table(self) -> Any:
        # Each handle stays at its version: a reader gets one of its own. Caches belong to the connection.
        return self._database.open_table(TABLE)


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
        f"the column {field.name!r} holds {column_kind(field.type)} in this gallery; "
        f"these images have {column_kind(column.type)} there: give such values, or name the column otherwise"
    )
