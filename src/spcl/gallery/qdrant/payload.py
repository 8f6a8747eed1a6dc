"""Rows of a gallery as points of Qdrant, and back.

The id of a point is the UUID of version 5 of the key of its image. Its payload has the key, the columns that are
known, and the folders above its path, by which filters on paths are answered. A time is text in ISO 8601, in UTC.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike

from spcl.errors import InputError
from spcl.gallery.columns import KEY, TIME, VECTOR, vectors_of

FOLDERS = "_folders"
"""The hidden payload field with the folders above the path of an image."""

KINDS: Mapping[str, pa.DataType] = {
    "text": pa.string(),
    "integer": pa.int64(),
    "number": pa.float64(),
    "bool": pa.bool_(),
    "time": TIME,
}
"""Types of columns by the words that a collection stores for them."""

_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "spcl gallery")


def kind_word(kind: pa.DataType) -> str:
    """The word that a collection stores for the type of a column."""
    return next(word for word, known in KINDS.items() if known == kind)


def point_id(key: str) -> str:
    """The id of the point of an image, from its key."""
    return str(uuid.uuid5(_NAMESPACE, key))


def folders_above(path: str) -> list[str]:
    """The folders above a path: ``a`` and ``a/b`` for ``a/b/c.jpg``."""
    return [path[:at] for at, char in enumerate(path) if char == "/"]


def points_of(rows: pa.Table, dim: int) -> list[dict[str, Any]]:
    """Give rows with keys and vectors as points: ``id``, ``vector`` and ``payload`` of each.

    Raises:
        InputError: If a number is infinite, which JSON cannot hold.
    """
    names = [name for name in rows.column_names if name != VECTOR]
    columns = {name: rows.column(name).to_pylist() for name in names}
    vectors = vectors_of(rows.column(VECTOR), dim)
    points = []
    for at, vector in enumerate(vectors):
        payload = {name: _stored(name, values[at]) for name, values in columns.items() if values[at] is not None}
        payload[FOLDERS] = folders_above(payload["path"])
        points.append({"id": point_id(payload[KEY]), "vector": vector.tolist(), "payload": payload})
    return points


def table_of(payloads: Sequence[Mapping[str, Any]], schema: pa.Schema, names: Iterable[str]) -> pa.Table:
    """Give some columns of points, with unknown values where the payload has none."""
    fields = [pa.field(KEY, pa.string()) if name == KEY else schema.field(name) for name in names]
    arrays = [pa.array([value_of(payload, field) for payload in payloads], field.type) for field in fields]
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields))


def value_of(payload: Mapping[str, Any], field: pa.Field) -> Any:
    """The value of a column in a payload; None where it is unknown."""
    return _read(payload.get(field.name), field.type)


def vector_array(vectors: ArrayLike, dim: int) -> pa.Array:
    """Vectors of points as a column of a gallery."""
    flat = np.asarray(vectors, dtype=np.float32).reshape(-1)
    return pa.FixedSizeListArray.from_arrays(pa.array(flat), dim)


def _stored(name: str, value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat(timespec="microseconds") + "Z"
    if isinstance(value, float) and not math.isfinite(value):
        raise InputError(
            f"the column {name!r} holds {value}, which a gallery in Qdrant cannot store; leave the value out, or give "
            "the column as text",
            code="number-too-large",
        )
    return value


def _read(value: Any, kind: pa.DataType) -> Any:
    if value is None:
        return None
    if kind == TIME:
        moment = datetime.fromisoformat(str(value).replace("Z", "+00:00"))
        return moment if moment.tzinfo is None else moment.astimezone(timezone.utc).replace(tzinfo=None)
    return float(value) if kind == pa.float64() else value
