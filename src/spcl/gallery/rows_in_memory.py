"""Rows in memory that are read as a snapshot of a gallery: of a features file, of images, or of a small gallery.

LanceDB takes as long to load as torch; one search among some thousand vectors does not need it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from spcl.gallery.columns import KEY, VECTOR, vectors_of
from spcl.gallery.enrolment import HAS_IDENTITY
from spcl.gallery.snapshot import ROW_ID, ROWS_AT_ONCE, Snapshot

_NUMBERS = count(1)


class RowsInMemory(Snapshot):
    """Rows with keys and vectors. The only filter is ``HAS_IDENTITY``."""

    @staticmethod
    def can_filter(where: str | None) -> bool:
        """Whether rows in memory can be read by this filter: None or ``HAS_IDENTITY``."""
        return where in (None, HAS_IDENTITY)

    def __init__(self, table: pa.Table) -> None:
        """Use the rows of a table; the id of a row is its number in the table."""
        self._rows = table.combine_chunks()
        self.has_keys = True
        self.schema = table.schema.remove(table.schema.get_field_index(KEY))
        self.dim = self.schema.field(VECTOR).type.list_size
        # Negative, so that no version of a table has the same number; counts are remembered by it.
        self.version = -next(_NUMBERS)

    def count(self, where: str | None = None) -> int:
        """Count the rows, or those with an identity."""
        return len(self._passing(where))

    def scan(
        self, columns: Sequence[str], where: str | None = None, rows: int = ROWS_AT_ONCE
    ) -> Iterator[tuple[NDArray[np.int64], pa.RecordBatch]]:
        """Read all rows, or those with an identity, in batches: (row ids, their columns)."""
        places = self._passing(where)
        table = self._rows.select(list(columns))
        if where is not None:
            table = table.take(pa.array(places)).combine_chunks()
        at = 0
        for batch in table.to_batches(max_chunksize=rows):
            yield places[at : at + len(batch)], batch
            at += len(batch)

    def take(self, row_ids: NDArray[np.int64], columns: Sequence[str]) -> pa.Table:
        """Read the rows of some ids, in the order of the ids; an id may occur more than once."""
        return self._rows.select(list(columns)).take(pa.array(row_ids)).append_column(ROW_ID, pa.array(row_ids))

    def sample(self, num: int, rng: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Draw rows without replacement, and give their row ids and vectors."""
        row_ids = np.sort(rng.choice(len(self._rows), size=min(num, len(self._rows)), replace=False))
        return row_ids, vectors_of(self.take(row_ids, [VECTOR]).column(VECTOR), self.dim)

    def indexed(self) -> tuple[int, int] | None:
        """Give None: rows in memory have no index."""
        return None

    def _passing(self, where: str | None) -> NDArray[np.int64]:
        if where is None:
            return np.arange(len(self._rows))
        if where != HAS_IDENTITY:
            raise ValueError(f"rows in memory cannot be filtered by {where!r}")
        return np.flatnonzero(self._rows.column("identity").is_valid().to_numpy())
