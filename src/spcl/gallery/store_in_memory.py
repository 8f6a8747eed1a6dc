"""A temporary gallery in memory: the rows of a features file or of images."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from spcl.gallery.columns import OWN_COLUMNS, VECTOR, vector_type
from spcl.gallery.folder import KEY_FIELD
from spcl.gallery.images_added_twice import merged_by_key
from spcl.gallery.keys import ImageKeys
from spcl.gallery.rows_in_memory import RowsInMemory
from spcl.gallery.snapshot import Snapshot
from spcl.gallery.store import Store, Written

MOST_VALUES = 100_000_000
"""Largest number of values (rows x length of a vector) in memory: 400 MB."""


class StoreInMemory(Store):
    """The rows of a temporary gallery; ``HAS_IDENTITY`` is the only filter."""

    def __init__(self, source: Path, dim: int, facts: Mapping[str, Any]) -> None:
        """Make it without rows.

        Args:
            source: Path of the features file or the images, for messages.
            dim: D, the length of a vector.
            facts: Facts of the gallery: ``fingerprint`` and ``flip``.
        """
        self.folder, self.dim, self.facts = source, dim, dict(facts)
        self.keys = ImageKeys("path")
        columns = [pa.field(name, kind) for name, kind in OWN_COLUMNS.items()]
        schema = pa.schema([KEY_FIELD, *columns, pa.field(VECTOR, vector_type(dim), nullable=False)])
        self._parts = [schema.empty_table()]

    def reading(self, where: str | None = None) -> Snapshot:
        """Give all rows."""
        return self.snapshot()

    def snapshot(self) -> Snapshot:
        """Give all rows."""
        if len(self._parts) > 1:
            self._parts = [merged_by_key(pa.concat_tables(self._parts, promote_options="default"))]
        return RowsInMemory(self._parts[0])

    def check_columns(self, rows: pa.Table) -> None:
        """Do nothing: every column can be added."""

    def add_columns(self, schema: pa.Schema) -> None:
        """Do nothing: columns are added with their rows."""

    def put(self, rows: pa.Table) -> Written:
        """Add rows; a row whose key exists replaces it, and its empty cells keep their values."""
        self._parts.append(rows.replace_schema_metadata(None))
        return Written(len(rows), 0, {}, "")
