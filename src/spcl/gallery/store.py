"""The table of a gallery on disk, by LanceDB: creating, writing, tidying. ``snapshot.py`` reads it.

A write is one version, which is stored completely or not at all, also if the process is killed. A reader takes a
``Snapshot``, which does not change while others write.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property, partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from spcl.atomic_files import written_aside
from spcl.data.image_files import what_is_there
from spcl.errors import InputError
from spcl.format_versions import KEY as FORMAT_KEY
from spcl.format_versions import check_format
from spcl.gallery.columns import KEY, VECTOR, check_new_columns
from spcl.gallery.concurrent_writes import LostRaceError, alone, until_won
from spcl.gallery.damage import damaged_gallery, reads_gallery
from spcl.gallery.enrolment_file import known_facts
from spcl.gallery.fitted_rows import fitted, fitting
from spcl.gallery.folder import FORMAT, KEY_FIELD, TABLE, connected, is_gallery, make_folder, table_metadata
from spcl.gallery.images_added_twice import filled_from
from spcl.gallery.keys import ImageKeys
from spcl.gallery.left_files import remove_left, writing
from spcl.gallery.migration import with_keys
from spcl.gallery.rows_file import Copied, copied_facts, read_copy, write_copy
from spcl.gallery.rows_in_memory import RowsInMemory
from spcl.gallery.snapshot import VECTOR_INDEX, Snapshot, facts_of, facts_of_table
from spcl.gallery.table_state import state_of
from spcl.leftovers import aside_of, remove
from spcl.nested_text import json_of

T = TypeVar("T")

_INDEX_FILE = "index.json"
_KEYS_AT_ONCE = 65536
# Readers of an older version have finished by then.
KEEP_VERSIONS = timedelta(hours=1)


@dataclass(frozen=True)
class Written:
    """Counts of a write.

    Attributes:
        num_added: Number of new rows.
        num_replaced: Number of rows that replaced others.
        kept: For each column, the number of replacing rows without a value, which kept the value in the gallery.
        note: Description of the conversion of a gallery of spcl 0.1.0; empty: no conversion.
    """

    num_added: int
    num_replaced: int
    kept: Mapping[str, int]
    note: str


class Store:
    """The table of a gallery, for writing.

    Attributes:
        folder: Folder of the gallery.
        facts: Facts that were stored when the gallery was made.
        dim: D, the length of a vector.
        keys: Rule of the keys of the gallery's images.
        builds_index: Whether searches can use an index.
    """

    builds_index = True

    def __init__(self, folder: Path) -> None:
        """Open a gallery.

        Raises:
            InputError: If there is none, it is damaged, or another version of spcl wrote it.
        """
        if not is_gallery(folder):
            raise InputError(
                f"there is no gallery at {folder}: {what_is_there(folder)}. Make one with "
                f"spcl embed CHECKPOINT IMAGES --gallery {folder}, or with Gallery.create",
                code="no-such-gallery",
            )
        self.folder = folder
        known = known_facts(folder) or copied_facts(folder)
        if known is not None:
            self.facts, self.dim = known
        else:
            self._read_facts()
        check_format(self.facts.get(FORMAT_KEY), FORMAT, f"the gallery {folder}")
        self.keys = ImageKeys(self.facts.get("key", "path"))
        self._copied: Copied | None = None

    def _read_facts(self) -> None:
        self.facts, self.dim = facts_of_table(self._table().schema, self.folder)

    @cached_property
    def _database(self) -> Any:
        # Connected when it is needed, because importing LanceDB is slow.
        return connected(self.folder)

    @classmethod
    def create(cls, folder: Path, dim: int, facts: Mapping[str, Any]) -> Store:
        """Make an empty gallery.

        Raises:
            InputError: If the folder is not empty, or the gallery cannot be made.
        """
        make_folder(folder, dim, facts)
        return cls(folder)

    @property
    def kept(self) -> Path:
        """Folder for files that are computed from the table."""
        return self.folder

    def state(self) -> str | None:
        """A name for the state of the table, which changes with every write; None if it cannot be read."""
        return state_of(self.folder)

    def snapshot(self) -> Snapshot:
        """Give a snapshot of the newest version."""
        return Snapshot(self._table(), self.folder)

    def reading(self, where: str | None = None) -> Snapshot:
        """Give a snapshot for reading by one filter or none: that of the copied rows, if it can filter so."""
        if not RowsInMemory.can_filter(where):
            return self.snapshot()
        self._copied = read_copy(self.folder, self._copied)
        return self.snapshot() if self._copied is None else self._copied.rows

    def copy_rows(self) -> None:
        """Copy the rows of a small gallery to a file that is read without LanceDB."""
        state = self.state()
        write_copy(self.folder, state, self.facts, self.snapshot())

    def check_columns(self, rows: pa.Table) -> None:
        """Raise the ``InputError`` that ``put`` would raise for the columns of these rows."""
        schema = self.snapshot().schema
        check_new_columns(rows.column_names, schema.names)
        for field in schema:
            if field.name in rows.column_names:
                fitting(rows.column(field.name), field)

    def put(self, rows: pa.Table) -> Written:
        """Add rows in one version; a row whose key exists replaces the old row.

        Empty cells and missing columns keep the values of the old row.

        Args:
            rows: Rows with keys and vectors; no key occurs twice.

        Raises:
            InputError: If a column has another type than in the gallery.
        """
        with alone(self.folder):
            note = self._give_keys()
            self.add_columns(rows.schema)
            table = self._table()
            filled, kept = filled_from(fitted(rows, table.schema), self._held(rows.column(KEY), self.snapshot()))
            merge = table.merge_insert(KEY).when_matched_update_all().when_not_matched_insert_all()
            done = self._write(lambda: merge.execute(filled))
        return Written(int(done.num_inserted_rows), int(done.num_updated_rows), kept, note)

    def _held(self, keys: pa.ChunkedArray, snapshot: Snapshot) -> pa.Table:
        """Read the rows of some keys, without vectors."""
        wanted = keys.combine_chunks()
        found = [np.empty(0, dtype=np.int64)]
        for row_ids, batch in snapshot.scan([KEY], rows=_KEYS_AT_ONCE):
            found.append(row_ids[pc.is_in(batch.column(KEY), value_set=wanted).to_numpy(zero_copy_only=False)])
        names = [KEY, *(name for name in snapshot.schema.names if name != VECTOR)]
        held = np.concatenate(found)
        return snapshot.take(held, names) if len(held) else pa.table({KEY: pa.array([], pa.string())})

    def _give_keys(self) -> str:
        """Convert a gallery of format 1 in one version, and describe the conversion; empty if it has keys already."""
        snapshot = self.snapshot()
        if snapshot.has_keys:
            return ""
        facts = {**self.facts, "key": "path"}
        schema = pa.schema([KEY_FIELD, *snapshot.schema], metadata=table_metadata(facts))
        rows, num_merged = with_keys(snapshot, self.folder, schema)
        # It conflicts with no other write: writers of this version wait for the lock, and it replaces every row.
        self._write(lambda: self._database.create_table(TABLE, data=rows, mode="overwrite"))
        self.facts = facts_of(self._table().schema)
        merged = f"; {num_merged} rows with another path to the same image were merged" if num_merged else ""
        return (
            f"the gallery {self.folder} was converted from the format of spcl 0.1.0, which cannot read it any "
            f"more{merged} (docs/search.md)"
        )

    def add_columns(self, schema: pa.Schema) -> None:
        """Add the columns that the table lacks; they are empty in the existing rows."""

        def add_missing_columns() -> None:
            table = self._table()
            check_new_columns(schema.names, table.schema.names)
            new = [field for field in schema if field.name not in (*table.schema.names, VECTOR)]
            if new:
                table.add_columns(new)

        # After a conflict, the next attempt sees the columns of the other writer.
        self._write(add_missing_columns)

    def clear(self, columns: Sequence[str], where: str) -> int:
        """Empty some columns of the rows that pass a filter, and count these rows."""
        nothing = dict.fromkeys(columns, "null")
        return int(self._write(lambda: self._table().update(where=where, values_sql=nothing)).rows_updated)

    def delete(self, where: str) -> int:
        """Remove the rows that pass a filter, and count them."""
        return int(self._write(lambda: self._table().delete(where)).num_deleted_rows)

    def build_index(self, *, partitions: int, sample_rate: int, iterations: int) -> None:
        """Build the vector index over all rows; an older index is replaced."""
        from lancedb.index import IvfSq

        config = IvfSq(
            distance_type="l2", num_partitions=partitions, sample_rate=sample_rate, max_iterations=iterations
        )
        self._write(partial(self._create_index, VECTOR, config=config, name=VECTOR_INDEX))

    def index_columns(self) -> None:
        """Index the columns that filters name and that have no index yet, so that a filter need not read every row.

        New rows are found before ``tidy`` adds them to the indexes. Paths are not indexed, because writes look up
        their rows without an index.
        """
        from lancedb.index import Bitmap, BTree

        table = self._table()
        indexed = {name for index in table.list_indices() for name in index.columns}
        for field in table.schema:
            if field.name not in (*indexed, KEY, VECTOR, "path"):
                few_values = field.name == "camera" or pa.types.is_boolean(field.type)
                config: Any = Bitmap() if few_values else BTree()
                self._write(partial(self._create_index, field.name, config=config, name=f"{field.name}_index"))

    def _create_index(self, column: str, *, config: Any, name: str) -> None:
        self._table().create_index(column, config=config, replace=True, name=name)

    def remove_if_empty(self) -> None:
        """Remove the gallery if it has no image."""
        with alone(self.folder):
            # Another program may have added images in the meantime.
            if not self.snapshot().count():
                # In one step: another program that makes the gallery now would meet the half of a folder.
                aside = aside_of(self.folder)
                self.folder.rename(aside)
                remove(aside)

    def kept_index(self, snapshot: Snapshot) -> object:
        """Give the facts of the index that were kept for a snapshot; None: there are none."""
        try:
            return json_of((self.folder / _INDEX_FILE).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None

    def keep_index(self, facts: Mapping[str, Any]) -> None:
        """Keep the facts of the index."""
        with written_aside(self.folder / _INDEX_FILE) as aside:
            aside.write_text(json.dumps(facts), encoding="utf-8")

    def tidy(self) -> None:
        """Merge the files of many small writes, add new rows to the index, and remove versions older than an hour.

        Data files that killed writes left are removed, too (``left_files.py``).

        If other programs write during every attempt, nothing is done until the next call.
        """
        remove_left(self.folder)
        with suppress(LostRaceError):
            self._write(lambda: self._table().optimize(cleanup_older_than=KEEP_VERSIONS))

    @reads_gallery
    def _table(self) -> Any:
        # A handle stays at its version, so each reader gets its own. The caches belong to the connection.
        try:
            return self._database.open_table(TABLE)
        except (ValueError, RuntimeError) as error:
            raise damaged_gallery(self.folder, error) from error

    @reads_gallery
    def _write(self, write: Callable[[], T]) -> T:
        with writing(self.folder):
            return until_won(write)
