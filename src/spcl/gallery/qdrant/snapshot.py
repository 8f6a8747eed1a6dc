"""Reading a gallery in Qdrant: its rows, its vectors, and search by the server.

Qdrant has no versions: rows that other programs add or remove during a call may or may not be seen.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from spcl.arrays import Progress
from spcl.errors import InputError
from spcl.gallery.columns import VECTOR, vector_type
from spcl.gallery.qdrant.address import QdrantPlace
from spcl.gallery.qdrant.asked_filters import Conditions
from spcl.gallery.qdrant.conditions import Condition
from spcl.gallery.qdrant.connection import asking, models
from spcl.gallery.qdrant.pages import PAYLOADS_AT_ONCE, pages_of
from spcl.gallery.qdrant.payload import table_of, vector_array
from spcl.gallery.snapshot import ROW_ID, ROWS_AT_ONCE, Snapshot

_NUMBERS = count(1)
_VALUES_AT_ONCE = 500_000
"""Numbers of vectors in a request or an answer: about 10 MB of JSON."""
_QUERIES_AT_ONCE = 64
_ID_BYTES = 16


class QdrantSnapshot(Snapshot):
    """The rows of a collection.

    The number of a row is its place among the rows that this object has read so far: a row that is read again has
    another number, one that is found again the same.

    Attributes:
        metadata: Metadata of the collection when this object was made.
    """

    def __init__(self, place: QdrantPlace, client: Any, schema: pa.Schema, info: Any) -> None:
        """Wrap a collection.

        Args:
            place: The collection.
            client: Client of its server or folder.
            schema: Columns without the key and the vector.
            info: Facts of the collection, as its client gives them.
        """
        self.folder, self.dim, self.has_keys = place.path, int(info.config.params.vectors.size), True
        self.metadata: Mapping[str, Any] = info.config.metadata or {}
        self.schema = schema.append(pa.field(VECTOR, vector_type(self.dim), nullable=False))
        self._info = info
        # Negative, so that counts are remembered for this object alone.
        self.version = -next(_NUMBERS)
        self._place, self._client = place, client
        self._ids = bytearray()
        self._found: dict[str, int] = {}
        self._known: dict[int, Mapping[str, Any]] = {}
        self._filters = Conditions(place, client, self.schema)

    def count(self, where: str | None = None) -> int:
        """Count the rows, or those that pass a filter.

        Raises:
            InputError: If the filter cannot be used.
        """
        condition = self.condition(where)
        with asking(self._place):
            return int(self._client.count(self._place.collection, count_filter=condition, exact=True).count)

    def condition(self, where: str | None) -> Condition | None:
        """The condition of a checked filter; None without a filter.

        Raises:
            InputError: If the filter cannot be used, or would be answered by reading more rows than a request can name.
        """
        return None if where is None else self._filters.condition(where)

    def values_of(self, column: str) -> set[str]:
        """Read the values of a column of text that occur, without the unknown one."""
        values = self._filters.distinct(column)
        return super().values_of(column) if values is None else set(values)

    def scan(
        self, columns: Sequence[str], where: str | None = None, rows: int = ROWS_AT_ONCE
    ) -> Iterator[tuple[NDArray[np.int64], pa.RecordBatch]]:
        """Read all rows, or those that pass a filter, in batches: (row ids, their columns)."""
        condition, names = self.condition(where), [name for name in columns if name != VECTOR]
        needs_vectors = VECTOR in columns
        size = max(1, min(rows, _VALUES_AT_ONCE // self.dim)) if needs_vectors else min(rows, PAYLOADS_AT_ONCE)
        for page in pages_of(self._place, self._client, condition, names, size, vectors=needs_vectors):
            for at in range(0, len(page), rows):
                points = page[at : at + rows]
                table = table_of([point.payload or {} for point in points], self.schema, names)
                if needs_vectors:
                    field = self.schema.field(VECTOR)
                    table = table.append_column(field, vector_array([point.vector for point in points], self.dim))
                row_ids = self._numbers([point.id for point in points])
                yield row_ids, table.select(list(columns)).combine_chunks().to_batches()[0]

    def take(self, row_ids: NDArray[np.int64], columns: Sequence[str]) -> pa.Table:
        """Read the rows of some ids, in the order of the ids; an id may occur more than once.

        Raises:
            InputError: If another program has removed one of them.
        """
        names = [name for name in columns if name != VECTOR]
        missing = [row for row in dict.fromkeys(row_ids.tolist()) if row not in self._known]
        payloads = dict(self._known)
        payloads |= {row: point.payload or {} for row, point in self._points(missing, vectors=False).items()}
        table = table_of([payloads[row] for row in row_ids.tolist()], self.schema, names)
        if VECTOR in columns:
            table = table.append_column(self.schema.field(VECTOR), vector_array(self.vectors(row_ids), self.dim))
        return table.select(list(columns)).append_column(ROW_ID, pa.array(row_ids))

    def vectors(self, row_ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """Read the vectors of some rows, ``[len(row_ids), dim]``."""
        found = self._points(list(dict.fromkeys(row_ids.tolist())), vectors=True)
        rows = [found[row].vector for row in row_ids.tolist()]
        return np.asarray(rows, dtype=np.float32).reshape(-1, self.dim)

    def _points(self, rows: Sequence[int], *, vectors: bool) -> dict[int, Any]:
        size = max(1, _VALUES_AT_ONCE // self.dim) if vectors else PAYLOADS_AT_ONCE
        # One point may have several numbers: it was found for several queries.
        ids = {row: self._id(row) for row in rows}
        every = list(dict.fromkeys(ids.values()))
        found: dict[str, Any] = {}
        for at in range(0, len(every), size):
            with asking(self._place):
                points = self._client.retrieve(
                    self._place.collection,
                    ids=every[at : at + size],
                    with_payload=not vectors,
                    with_vectors=vectors,
                )
            found |= {str(point.id): point for point in points}
        if len(found) < len(every):
            raise InputError(
                f"another program removed images of the gallery {self._place.address} while they were read; try again",
                code="gallery-busy",
            )
        return {row: found[each] for row, each in ids.items()}

    def sample(self, num: int, rng: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Let Qdrant draw rows without replacement, and give their row ids and vectors; ``rng`` is not used."""
        found = models()
        with asking(self._place):
            drawn = self._client.query_points(
                self._place.collection,
                query=found.SampleQuery(sample=found.Sample.RANDOM),
                limit=num,
                with_payload=False,
                with_vectors=True,
            ).points
        vectors = np.asarray([point.vector for point in drawn], dtype=np.float32).reshape(-1, self.dim)
        return self._numbers_of_found([point.id for point in drawn]), vectors

    def indexed(self) -> tuple[int, int] | None:
        """Count the rows in the index of Qdrant and the others; None without an index."""
        indexed, every = int(self._info.indexed_vectors_count or 0), int(self._info.points_count or 0)
        return (indexed, max(0, every - indexed)) if indexed else None

    def search_every(
        self, queries: NDArray[np.float32], k: int, where: str | None, progress: Progress | None = None
    ) -> tuple[list[NDArray[np.int64]], list[NDArray[np.float32]]]:
        """Let Qdrant compare every row with each query: row ids and similarities, the most similar first."""
        rows: list[NDArray[np.int64]] = []
        similarities: list[NDArray[np.float32]] = []
        params = models().SearchParams(exact=True)
        for at in range(0, len(queries), _QUERIES_AT_ONCE):
            for found, values in self._search(queries[at : at + _QUERIES_AT_ONCE], k, where, params):
                rows.append(found)
                similarities.append(values)
            if progress is not None:
                progress(len(rows), len(queries))
        return rows, similarities

    def search_index(
        self, query: NDArray[np.float32], k: int, *, regions: int | None, refine: int, where: str | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Find the nearest rows by Qdrant's HNSW graph, nearest first, with their squared distances.

        Args:
            query: ``[dim]``.
            k: Number of neighbours.
            regions: Number of candidates that the search of the graph keeps (``hnsw_ef``); None: every row is compared.
            refine: Not used: Qdrant compares full vectors.
            where: A filter that images must pass.
        """
        found = models()
        params = found.SearchParams(exact=True) if regions is None else found.SearchParams(hnsw_ef=max(k, regions))
        ((rows, similarities),) = self._search(query[None], k, where, params)
        return rows, (2 - 2 * similarities).astype(np.float32)

    def _search(
        self, queries: NDArray[np.float32], k: int, where: str | None, params: Any
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        condition, found = self.condition(where), models()
        requests = [
            found.QueryRequest(query=query.tolist(), filter=condition, limit=k, params=params, with_payload=True)
            for query in queries
        ]
        with asking(self._place):
            answers = self._client.query_batch_points(self._place.collection, requests=requests)
        for answer in answers:
            rows = self._numbers_of_found([point.id for point in answer.points])
            self._known |= {row: point.payload or {} for row, point in zip(rows.tolist(), answer.points, strict=True)}
            yield rows, np.array([point.score for point in answer.points], dtype=np.float32)

    def _numbers(self, ids: Sequence[Any]) -> NDArray[np.int64]:
        """Number points that were read."""
        first = len(self._ids) // _ID_BYTES
        self._ids += b"".join(uuid.UUID(str(each)).bytes for each in ids)
        return np.arange(first, first + len(ids), dtype=np.int64)

    def _numbers_of_found(self, ids: Sequence[Any]) -> NDArray[np.int64]:
        """Number points that were found or drawn: each has one number, however often it is found."""
        texts = [str(each) for each in ids]
        new = [text for text in dict.fromkeys(texts) if text not in self._found]
        self._found |= dict(zip(new, self._numbers(new).tolist(), strict=True))
        return np.array([self._found[text] for text in texts], dtype=np.int64)

    def _id(self, row: int) -> str:
        return str(uuid.UUID(bytes=bytes(self._ids[row * _ID_BYTES : (row + 1) * _ID_BYTES])))
