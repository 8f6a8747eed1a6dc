"""What is searched in without a gallery on disk: rows of a features file or of images, as long as a program runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from spcl.gallery.columns import OWN_COLUMNS, VECTOR, vector_type
from spcl.gallery.folder import KEY_FIELD
from spcl.gallery.keys import ImageKeys
from spcl.gallery.repeated_images import merged_by_key
from spcl.gallery.rows_in_memory import RowsInMemory
from spcl.gallery.snapshot import Snapshot
from spcl.gallery.store import Put, Store

MOST_VALUES = 100_000_000
"""So many values (rows x length of a vector) are kept in memory at most: 400 MB."""


class StoreInMemory(Store):
    """The rows of such a gallery, in memory; without filters."""

    def __init__(self, source: Path, dim: int, facts: Mapping[str, Any]) -> None:
        """Begin without rows.

        Args:
            source: What it stands for, for messages.
            dim: Length of a vector.
            facts: As of a gallery: ``fingerprint``, ``flip``.
        """
        self.folder, self.dim, self.facts = source, dim, dict(facts)
        self.keys = ImageKeys("path")
        columns = [pa.field(name, kind) for name, kind in OWN_COLUMNS.items()]
        schema = pa.schema([KEY_FIELD, *columns, pa.field(VECTOR, vector_type(dim), nullable=False)])
        self._parts = [schema.empty_table()]

    def reading(self, where: str | None = None) -> Snapshot:
        """All rows that were put."""
        return self.snapshot()

    def snapshot(self) -> Snapshot:
        """All rows that were put."""
        if len(self._parts) > 1:
            self._parts = [merged_by_key(pa.concat_tables(self._parts, promote_options="default"))]
        return RowsInMemory(self._parts[0])

    def check_columns(self, rows: pa.Table) -> None:
        """All columns can be put."""

    def add_columns(self, schema: pa.Schema) -> None:
        """Columns come with their rows."""

    def put(self, rows: pa.Table) -> Put:
        """Add rows; one whose key is there already takes its place, and keeps what it does not say itself."""
        self._parts.append(rows.replace_schema_metadata(None))
        return Put(len(rows), 0, {}, "")
