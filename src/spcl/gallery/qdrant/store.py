"""A gallery in Qdrant: making its collection, writing and removing rows. ``snapshot.py`` reads it.

The metadata of the collection has the facts of the gallery, the types of its columns, and the measured recall of its
index; each column is an entry of its own, so that two programs can add columns at the same time.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from spcl.errors import InputError
from spcl.format_versions import KEY as FORMAT_KEY
from spcl.format_versions import QDRANT_GALLERY, check_format
from spcl.gallery.argument_checks import required_count
from spcl.gallery.columns import KEY, OWN_COLUMNS, VECTOR, check_new_columns, vector_type
from spcl.gallery.fitted_rows import fitted
from spcl.gallery.images_added_twice import filled_from
from spcl.gallery.keys import ImageKeys
from spcl.gallery.qdrant.address import QdrantPlace
from spcl.gallery.qdrant.connection import asking, client_of, models
from spcl.gallery.qdrant.payload import FOLDERS, KINDS, kind_word, point_id, points_of, table_of
from spcl.gallery.qdrant.snapshot import QdrantSnapshot
from spcl.gallery.snapshot import Snapshot
from spcl.gallery.store import Store, Written
from spcl.gallery.table_state import cache_of

FACTS = "spcl"
"""The entry of a collection's metadata with the facts of the gallery."""

_COLUMN = "spcl_column_"
_INDEX = "spcl_index"
_VALUES_AT_ONCE = 500_000
"""Numbers of vectors in a request: about 10 MB of JSON, of 32 MB that a server takes."""
_LONGEST_WAIT = 1800.0
_WAIT = 1.0
_INDEXES = {"text": "keyword", "integer": "integer", "number": "float", "bool": "bool", "time": "datetime"}


class QdrantStore(Store):
    """The collection of a gallery, for writing. A write of many rows is several requests, each of them complete."""

    def __init__(self, place: QdrantPlace) -> None:
        """Open a gallery.

        Raises:
            InputError: If there is none, it was not made by spcl, or another version of spcl wrote it; if the server
                cannot be reached.
        """
        self.place, self.folder = place, place.path
        # Local mode compares every row.
        self.builds_index = place.folder is None
        if place.folder is not None and not (place.folder / "meta.json").is_file():
            raise _no_gallery(place)
        self._client = client_of(place)
        with asking(place):
            is_there = self._client.collection_exists(place.collection)
        if not is_there:
            raise _no_gallery(place)
        config = self._info().config
        size = getattr(config.params.vectors, "size", None)
        facts = (config.metadata or {}).get(FACTS)
        if not isinstance(facts, Mapping) or "fingerprint" not in facts or size is None:
            raise InputError(
                f"the collection {place.collection} of {place.holder} was not made by spcl: it does not name the "
                "encoder of its vectors. Give the name of another collection",
                code="not-a-gallery",
            )
        self.facts, self.dim = dict(facts), int(size)
        check_format(self.facts.get(FORMAT_KEY), QDRANT_GALLERY, f"the gallery {place.address}")
        self.keys = ImageKeys(self.facts.get("key", "path"))

    @classmethod
    def made(cls, place: QdrantPlace, dim: int, facts: Mapping[str, Any]) -> QdrantStore:
        """Make an empty gallery.

        Raises:
            InputError: If there is a collection of this name, or it cannot be made.
        """
        dim, client, found = required_count(dim, "dim"), client_of(place), models()
        with asking(place):
            if client.collection_exists(place.collection):
                raise _already_there(place)
            try:
                client.create_collection(
                    place.collection,
                    # The vectors have unit length, and Cosine would change their last bits.
                    vectors_config=found.VectorParams(size=dim, distance=found.Distance.DOT),
                    metadata={FACTS: {**facts, FORMAT_KEY: QDRANT_GALLERY}},
                )
            except Exception:
                if client.collection_exists(place.collection):
                    raise _already_there(place) from None
                raise
            kept = client.get_collection(place.collection).config.metadata
            if not kept or FACTS not in kept:
                client.delete_collection(place.collection)
                raise InputError(
                    f"{place.holder} does not keep the metadata of collections, in which a gallery stores its encoder: "
                    "use Qdrant 1.16 or newer",
                    code="version-not-supported",
                )
        store = cls(place)
        own = {name: kind_word(kind) for name, kind in OWN_COLUMNS.items()}
        store._index_payload({KEY: "text", FOLDERS: "text", **own})
        return store

    @property
    def kept(self) -> Path:
        """Folder of this machine for files that are computed from the gallery; it need not exist."""
        return cache_of(self.place.address)

    def snapshot(self) -> QdrantSnapshot:
        """Give the rows for reading."""
        info = self._info()
        return QdrantSnapshot(self.place, self._client, _schema_of(info), info)

    def reading(self, where: str | None = None) -> QdrantSnapshot:
        """Give the rows for reading."""
        return self.snapshot()

    def put(self, rows: pa.Table) -> Written:
        """Add rows; a row whose key exists replaces the old row.

        Empty cells and missing columns keep the values of the old row. The rows are written in parts: after an error,
        the same call completes them.

        Args:
            rows: Rows with keys and vectors; no key occurs twice.

        Raises:
            InputError: If a column has another type than in the gallery, or the server cannot be used.
        """
        self.add_columns(rows.schema)
        columns = _schema_of(self._info())
        schema = columns.insert(0, pa.field(KEY, pa.string())).append(pa.field(VECTOR, vector_type(self.dim)))
        size = max(1, _VALUES_AT_ONCE // self.dim)
        num_replaced, kept = 0, dict[str, int]()
        for at in range(0, len(rows), size):
            part = fitted(rows.slice(at, size), schema)
            held = self._rows_of(part.column(KEY).to_pylist(), columns)
            part, values = filled_from(part, held)
            points = [models().PointStruct(**point) for point in points_of(part, self.dim)]
            with asking(self.place):
                self._client.upsert(self.place.collection, points=points, wait=True)
            num_replaced += len(held)
            kept |= {name: kept.get(name, 0) + number for name, number in values.items()}
        return Written(len(rows) - num_replaced, num_replaced, kept, "")

    def _rows_of(self, keys: Sequence[str], columns: pa.Schema) -> pa.Table:
        """Read the rows of some keys, without vectors."""
        ids = [point_id(key) for key in keys]
        with asking(self.place):
            points = self._client.retrieve(self.place.collection, ids=ids, with_payload=True)
        return table_of([point.payload or {} for point in points], columns, [KEY, *columns.names])

    def add_columns(self, schema: pa.Schema) -> None:
        """Add the columns that the gallery lacks; they are empty in the existing rows."""
        known = _schema_of(self._info())
        check_new_columns(schema.names, known.names)
        new = [field for field in schema if field.name not in (*known.names, VECTOR, KEY)]
        if not new:
            return
        entries = {
            f"{_COLUMN}{field.name}": {"kind": kind_word(field.type), "number": len(known) + number}
            for number, field in enumerate(new)
        }
        with asking(self.place):
            self._client.update_collection(self.place.collection, metadata=entries)
        self._index_payload({field.name: kind_word(field.type) for field in new})

    def clear(self, columns: Sequence[str], where: str) -> int:
        """Empty some columns of the rows that pass a filter, and count these rows."""
        snapshot = self.snapshot()
        number = snapshot.count(where)
        if number:
            chosen = models().FilterSelector(filter=snapshot.condition(where))
            with asking(self.place):
                self._client.delete_payload(self.place.collection, keys=list(columns), points=chosen, wait=True)
        return number

    def delete(self, where: str) -> int:
        """Remove the rows that pass a filter, and count them."""
        snapshot = self.snapshot()
        number = snapshot.count(where)
        if number:
            chosen = models().FilterSelector(filter=snapshot.condition(where))
            with asking(self.place):
                self._client.delete(self.place.collection, points_selector=chosen, wait=True)
        return number

    def remove_if_empty(self) -> None:
        """Remove the collection if it has no image."""
        if not self.snapshot().count():
            with asking(self.place):
                self._client.delete_collection(self.place.collection)

    def build_index(self, *, partitions: int, sample_rate: int, iterations: int) -> None:
        """Wait until Qdrant, which builds its HNSW graph by itself, has finished; at most half an hour."""
        end = time.monotonic() + _LONGEST_WAIT
        while time.monotonic() < end:
            with asking(self.place):
                status = self._client.get_collection(self.place.collection).status
            if str(getattr(status, "value", status)) == "green":
                return
            time.sleep(_WAIT)

    def kept_index(self, snapshot: Snapshot) -> object:
        """The facts of the index that were kept when the snapshot was taken; None: there were none."""
        return snapshot.metadata.get(_INDEX) if isinstance(snapshot, QdrantSnapshot) else None

    def keep_index(self, facts: Mapping[str, Any]) -> None:
        """Keep the facts of the index."""
        with asking(self.place):
            self._client.update_collection(self.place.collection, metadata={_INDEX: dict(facts)})

    def state(self) -> None:
        """Give None: a collection has no versions, and nothing that is computed from it is kept."""

    def copy_rows(self) -> None:
        """Do nothing: rows are not kept on this machine."""

    def index_columns(self) -> None:
        """Do nothing: columns are indexed when they are added."""

    def tidy(self) -> None:
        """Do nothing: Qdrant merges its files by itself."""

    def _info(self) -> Any:
        with asking(self.place):
            return self._client.get_collection(self.place.collection)

    def _index_payload(self, kinds: Mapping[str, str]) -> None:
        """Let the server index columns, so that filters need not read every row; local mode has no such index."""
        if self.place.folder is not None:
            return
        for name, kind in kinds.items():
            with asking(self.place):
                self._client.create_payload_index(self.place.collection, name, field_schema=_INDEXES[kind], wait=True)


def _schema_of(info: Any) -> pa.Schema:
    """The columns without key and vector; those of the user in the order in which they were added."""
    entries = {
        name.removeprefix(_COLUMN): entry
        for name, entry in (info.config.metadata or {}).items()
        if name.startswith(_COLUMN) and isinstance(entry, Mapping)
    }
    ordered = sorted(entries, key=lambda name: (entries[name].get("number", 0), name))
    own = [pa.field(name, KINDS[entries[name]["kind"]]) for name in ordered if entries[name].get("kind") in KINDS]
    return pa.schema([*(pa.field(name, kind) for name, kind in OWN_COLUMNS.items()), *own])


def is_there(place: QdrantPlace) -> bool:
    """Whether a collection exists, made by spcl or not."""
    if place.folder is not None and not (place.folder / "meta.json").is_file():
        return False
    client = client_of(place)
    with asking(place):
        return bool(client.collection_exists(place.collection))


def _no_gallery(place: QdrantPlace) -> InputError:
    return InputError(
        f"there is no gallery at {place.address}: {place.holder} has no collection {place.collection}. Make one with "
        f"spcl embed CHECKPOINT IMAGES --gallery {place.address}, or with Gallery.create",
        code="no-such-gallery",
    )


def _already_there(place: QdrantPlace) -> InputError:
    return InputError(
        f"{place.holder} has a collection {place.collection} already: open it, or give another name",
        code="already-exists",
    )
