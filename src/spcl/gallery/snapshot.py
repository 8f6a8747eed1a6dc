"""One version of a gallery's table, for reading by LanceDB: rows, vectors, and search by the index."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from spcl.arrays import Progress
from spcl.errors import InputError
from spcl.gallery.columns import KEY, VECTOR, vectors_of
from spcl.gallery.damage import damaged_gallery, is_of_files, reading_gallery, reads_gallery, reason_of
from spcl.gallery.filters import invalid_filter
from spcl.gallery.qdrant.address import shown_place
from spcl.nested_text import json_of

FACTS = b"spcl"
"""The key of the table's metadata under which the facts of the gallery are stored."""

VECTOR_INDEX = "vector_index"
ROW_ID = "_rowid"
_DISTANCE = "_distance"
# A scan keeps several batches in memory at the same time.
ROWS_AT_ONCE = 2048
_VALUES_AT_ONCE = 65536


class Snapshot:
    """One version of a gallery's table.

    Attributes:
        schema: Columns of the table, without the key.
        has_keys: Whether the rows have keys; rows of a gallery of format 1 have none.
        dim: D, the length of a vector.
        version: Number of the version.
        folder: Folder of the gallery.

    Every method raises an ``InputError`` if a file of the gallery cannot be read.
    """

    def __init__(self, table: Any, folder: Path) -> None:
        self._table, self.folder = table, folder
        schema: pa.Schema = table.schema
        self.has_keys = KEY in schema.names
        self.schema = schema.remove(schema.get_field_index(KEY)) if self.has_keys else schema
        self.dim: int = self.schema.field(VECTOR).type.list_size
        self.version = int(table.version)

    @reads_gallery
    def count(self, where: str | None = None) -> int:
        """Count the rows, or those that pass a filter.

        Raises:
            InputError: If the filter cannot be used.
        """
        try:
            return int(self._table.count_rows(where))
        except (ValueError, RuntimeError) as error:
            if where is None or is_of_files(error) or not self._can_be_counted():
                raise damaged_gallery(self.folder, error) from error
            reason = reason_of(error)
            # The message also lists columns that users do not see.
            if unknown := re.search(r'No field named "?([^".]+)"?\.', reason):
                reason = f"there is no column {unknown[1]} (write text and times in single quotes)"
            raise invalid_filter(where, reason, self.schema) from error

    def _can_be_counted(self) -> bool:
        """Whether a filter that is right can be used: otherwise the files are wrong, not the user's filter."""
        try:
            self._table.count_rows("path is not null")
        except (ValueError, RuntimeError):
            return False
        return True

    def scan(
        self, columns: Sequence[str], where: str | None = None, rows: int = ROWS_AT_ONCE
    ) -> Iterator[tuple[NDArray[np.int64], pa.RecordBatch]]:
        """Read all rows, or those that pass a filter, in batches: (row ids, their columns)."""
        query = self._table.search().select(list(columns)).with_row_id(True)
        if where is not None:
            query = query.where(where)
        with reading_gallery(self.folder):
            for batch in query.to_batches(batch_size=rows):
                if batch.num_rows:
                    yield batch.column(ROW_ID).to_numpy().astype(np.int64), batch

    @reads_gallery
    def take(self, row_ids: NDArray[np.int64], columns: Sequence[str]) -> pa.Table:
        """Read the rows of some ids, in the order of the ids; an id may occur more than once."""
        distinct = np.unique(row_ids)
        query = self._table.take_row_ids(distinct.tolist()).select(list(columns)).with_row_id()
        found = query.to_arrow()
        ids = found.column(ROW_ID).to_numpy().astype(np.int64)
        order = np.argsort(ids)
        return found.take(pa.array(order[np.searchsorted(ids[order], row_ids)]))

    def vectors(self, row_ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """Read the vectors of some rows, ``[len(row_ids), dim]``."""
        return vectors_of(self.take(row_ids, [VECTOR]).column(VECTOR), self.dim)

    @reads_gallery
    def sample(self, num: int, rng: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Draw rows without replacement, and give their row ids and vectors."""
        count = self.count()
        offsets = np.sort(rng.choice(count, size=min(num, count), replace=False)).tolist()
        found = self._table.take_offsets(offsets).select([VECTOR]).with_row_id().to_arrow()
        return found.column(ROW_ID).to_numpy().astype(np.int64), vectors_of(found.column(VECTOR), self.dim)

    @reads_gallery
    def indexed(self) -> tuple[int, int] | None:
        """Count the rows in the index and the rows that are not in it; None without an index."""
        stats = self._table.index_stats(VECTOR_INDEX)
        return None if stats is None else (int(stats.num_indexed_rows), int(stats.num_unindexed_rows))

    def search_every(
        self, queries: NDArray[np.float32], k: int, where: str | None, progress: Progress | None = None
    ) -> tuple[list[NDArray[np.int64]], list[NDArray[np.float32]]] | None:
        """Let the store compare every row with each query; None: it cannot, and the rows are read and compared.

        Args:
            queries: ``[Q, dim]`` unit rows.
            k: Number of neighbours for each query.
            where: A checked filter that images must pass.
            progress: Called with (queries done, all queries).

        Returns:
            Row ids and similarities of each query, the most similar first.
        """
        return None

    def values_of(self, column: str) -> set[str]:
        """Read the values of a column of text that occur, without the unknown one."""
        batches = self.scan([column], rows=_VALUES_AT_ONCE)
        found = {value for _, batch in batches for value in batch.column(column).unique().to_pylist()}
        return found - {None}

    @reads_gallery
    def search_index(
        self, query: NDArray[np.float32], k: int, *, regions: int | None, refine: int, where: str | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Find the nearest rows by the index, nearest first, with their squared distances.

        Rows that are not in the index are compared, too.

        Args:
            query: ``[dim]``.
            k: Number of neighbours.
            regions: Number of regions of the index that are searched; None: all.
            refine: The full vectors of ``refine * k`` candidates are compared.
            where: A filter that images must pass.
        """
        search = self._table.search(query, vector_column_name=VECTOR).distance_type("l2").limit(k)
        # 0 as the largest number means all regions.
        search = search.minimum_nprobes(regions or 1).maximum_nprobes(regions or 0).refine_factor(refine)
        if where is not None:
            search = search.where(where, prefilter=True)
        found = search.select([_DISTANCE]).with_row_id(True).to_arrow()
        distances: NDArray[np.float32] = found.column(_DISTANCE).to_numpy()
        return found.column(ROW_ID).to_numpy().astype(np.int64), distances


def facts_of(schema: pa.Schema) -> dict[str, Any]:
    """Read the facts of a gallery from the schema of its table; empty if spcl did not write the table."""
    return dict(json_of((schema.metadata or {}).get(FACTS, b"{}")))


def facts_of_table(schema: pa.Schema, folder: Path) -> tuple[dict[str, Any], int]:
    """Read the facts of a gallery from the schema of its table, and the length of its vectors.

    Raises:
        InputError: If the facts are damaged, or spcl did not write the table.
    """
    try:
        facts = facts_of(schema)
    except (ValueError, RecursionError) as error:
        raise damaged_gallery(folder, error) from error
    if VECTOR not in schema.names or "fingerprint" not in facts:
        raise InputError(
            f"the table in {shown_place(folder)} was not made by spcl: it does not name the encoder of its vectors",
            code="not-a-gallery",
        )
    return facts, int(schema.field(VECTOR).type.list_size)
