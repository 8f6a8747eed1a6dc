"""The table of a gallery on object storage.

Nothing is locked and nothing is kept beside the table. LanceDB stores a version by a conditional put, which fails if
another program has stored one meanwhile; the write then begins again from the newer version.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa

from spcl.errors import InputError
from spcl.format_versions import KEY as FORMAT_KEY
from spcl.format_versions import check_format
from spcl.gallery.argument_checks import required_count
from spcl.gallery.cloud.connection import connected_to, is_there
from spcl.gallery.cloud.errors import SERVERS, asking
from spcl.gallery.columns import KEY, VECTOR
from spcl.gallery.concurrent_writes import LostRaceError, until_won
from spcl.gallery.damage import damaged_gallery, reads_gallery
from spcl.gallery.fitted_rows import fitted
from spcl.gallery.folder import FORMAT, TABLE, new_schema
from spcl.gallery.images_added_twice import filled_from
from spcl.gallery.keys import ImageKeys
from spcl.gallery.snapshot import Snapshot
from spcl.gallery.store import KEEP_VERSIONS, Store, Written
from spcl.gallery.table_state import cache_of
from spcl.nested_text import json_of

T = TypeVar("T")

_MADE = "made"
_INDEX = "spcl.index"
_ATTEMPTS = 8


class CloudStore(Store):
    """The table of a gallery on object storage, for writing.

    Attributes:
        address: Address of the gallery.
    """

    def __init__(self, address: str) -> None:
        """Open a gallery.

        Raises:
            InputError: If there is none, it is damaged, another version of spcl wrote it, or the storage cannot be
                used.
        """
        self.address, self.folder = address, Path(address)
        if not is_there(address):
            raise InputError(
                f"there is no gallery at {address}: make one with spcl embed CHECKPOINT IMAGES --gallery {address}, or "
                "with Gallery.create",
                code="no-such-gallery",
            )
        self._read_facts()
        check_format(self.facts.get(FORMAT_KEY), FORMAT, f"the gallery {address}")
        self.keys = ImageKeys(self.facts.get("key", "path"))

    @classmethod
    def made(cls, address: str, dim: int, facts: Mapping[str, Any]) -> CloudStore:
        """Make an empty gallery.

        Raises:
            InputError: If there is one already, or it cannot be made.
        """
        # A gallery that is made again after it was deleted has versions of the same numbers.
        schema = new_schema(required_count(dim, "dim"), {**facts, _MADE: uuid.uuid4().hex})
        taken = InputError(
            f"there is already a gallery at {address}: open it, or give another address", code="already-exists"
        )
        if is_there(address):
            raise taken
        try:
            with asking(address):
                connected_to(address).create_table(TABLE, schema=schema)
        except (ValueError, RuntimeError, OSError) as error:
            # Another program may have made it at the same time.
            if not isinstance(error, InputError) and is_there(address):
                raise taken from error
            raise
        return cls(address)

    @cached_property
    def _database(self) -> Any:
        return connected_to(self.address)

    @property
    def kept(self) -> Path:
        """Folder of this machine for files that are computed from the table; it need not exist."""
        server = next((os.environ[name] for name in SERVERS if os.environ.get(name)), "")
        return cache_of(f"{server} {self.address}")

    def state(self) -> str | None:
        """A name for the state of the table, which changes with every write; None if it cannot be read."""
        with suppress(InputError):
            table = self._table()
            return f"{self.facts.get(_MADE, '')} {table.version} {table.count_rows()}"
        return None

    def reading(self, where: str | None = None) -> Snapshot:
        """Give a snapshot for reading."""
        return self.snapshot()

    def copy_rows(self) -> None:
        """Do nothing: a copy would have to be fetched as the table is."""

    def put(self, rows: pa.Table) -> Written:
        """Add rows in one version; a row whose key exists replaces the old row.

        Empty cells and missing columns keep the values of the old row, also one that another program writes meanwhile.

        Args:
            rows: Rows with keys and vectors; no key occurs twice.

        Raises:
            InputError: If a column has another type than in the gallery, or other programs write during every attempt.
        """
        if not self.snapshot().has_keys:
            raise InputError(
                f"the gallery {self.address} has the format of spcl 0.1.0: copy it to a folder, add an image there, "
                "which converts it, and copy it back",
                code="older-format",
            )
        self.add_columns(rows.schema)
        table = self._table()
        begun, (filled, kept) = int(table.version), self._filled(rows, table)
        done = first = self._merge(table, filled)
        for _ in range(_ATTEMPTS):
            if done.version == begun + 1:
                return Written(int(first.num_inserted_rows), int(first.num_updated_rows), kept, "")
            # Another program wrote meanwhile. LanceDB repeats a merge with the rows that it was given, whose kept
            # values are older than that write.
            table = self._table()
            table.checkout(done.version - 1)
            again, kept = self._filled(rows, table)
            if again.equals(filled):
                return Written(int(first.num_inserted_rows), int(first.num_updated_rows), kept, "")
            table, filled = self._table(), again
            begun, done = int(table.version), self._merge(table, filled)
        raise LostRaceError(
            f"other programs wrote to {self.address} during every attempt to write; try again when they have finished",
            code="gallery-busy",
        )

    @reads_gallery
    def _filled(self, rows: pa.Table, table: Any) -> tuple[pa.Table, dict[str, int]]:
        held = self._held(rows.column(KEY), Snapshot(table, self.folder))
        return filled_from(fitted(rows, table.schema), held)

    def _merge(self, table: Any, rows: pa.Table) -> Any:
        merge = table.merge_insert(KEY).when_matched_update_all().when_not_matched_insert_all()
        return self._write(lambda: merge.execute(rows))

    def remove_if_empty(self) -> None:
        """Do nothing: without a lock, another program may add images at the same time."""

    def kept_index(self, snapshot: Snapshot) -> object:
        """Give the facts of the index that were kept with a version; None: there are none."""
        kept = (snapshot.schema.field(VECTOR).metadata or {}).get(_INDEX.encode())
        try:
            return None if kept is None else json_of(kept)
        except ValueError:
            return None

    def keep_index(self, facts: Mapping[str, Any]) -> None:
        """Keep the facts of the index with the table, where all machines read them."""
        entry = {"path": VECTOR, "metadata": {_INDEX: json.dumps(facts)}}
        self._write(lambda: self._table().update_field_metadata(entry))

    def tidy(self) -> None:
        """Merge the files of many small writes, add new rows to the index, and remove versions older than an hour.

        Files that killed writes left are removed after a week.
        """
        with suppress(LostRaceError):
            self._write(lambda: self._table().optimize(cleanup_older_than=KEEP_VERSIONS))

    @reads_gallery
    def _table(self) -> Any:
        try:
            with asking(self.address):
                return self._database.open_table(TABLE)
        except (ValueError, RuntimeError) as error:
            if isinstance(error, InputError):
                raise
            raise damaged_gallery(self.folder, error) from error

    @reads_gallery
    def _write(self, write: Callable[[], T]) -> T:
        def asked() -> T:
            with asking(self.address):
                return write()

        return until_won(asked)
