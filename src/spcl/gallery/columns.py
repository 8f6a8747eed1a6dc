"""Columns of a gallery beside the vector, as Arrow columns: checked, and of one type each.

``path``, ``identity`` and ``camera`` are text, as the user wrote them (a number becomes its digits, so that camera
``north gate`` may follow camera 3), ``time`` is a time without zone; every other column is text, a whole number, a
number, true or false, or a time, as its first values are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from pathlib import PurePath
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from spcl.arrays import Features, unit_rows
from spcl.data.placeholders import is_missing, without_placeholders
from spcl.data.time_parsing import as_time, times_of
from spcl.errors import InputError

VECTOR = "vector"
KEY = "_key"
"""The hidden column by which a row is known (``keys.py``); users cannot name a column so."""

TIME = pa.timestamp("us")
OWN_COLUMNS = {"path": pa.string(), "identity": pa.string(), "camera": pa.string(), "time": TIME}

_TOLD_BY_SEARCHES = ("similarity", "distance")
_KINDS = {
    "text": pa.string(),
    "whole number": pa.int64(),
    "number": pa.float64(),
    "true or false": pa.bool_(),
    "time": TIME,
}


def vector_type(dim: int) -> pa.DataType:
    """The type of a vector column: ``dim`` float32 values in each row."""
    return pa.list_(pa.float32(), dim)


def column_kind(data_type: pa.DataType) -> str:
    """What a column holds, in a user's words."""
    return next((kind for kind, known in _KINDS.items() if known == data_type), str(data_type))


def path_text(path: object) -> str:
    """A path as a gallery holds it: with forward slashes; text stays as it is."""
    return _encodable(path.as_posix() if isinstance(path, PurePath) else str(path))


def described(
    paths: Sequence[object],
    *,
    identities: Sequence[Any] | None = None,
    cameras: Sequence[Any] | None = None,
    times: Sequence[Any] | None = None,
    columns: Mapping[str, Sequence[Any]] | None = None,
) -> pa.Table:
    """Images as an Arrow table, without vectors.

    Args:
        paths: Of the images, or other names of theirs; each names one row of a gallery.
        identities: Text or numbers, None where unknown; placeholders (-1, ``unknown``, ``n/a``) become None.
        cameras: Text or numbers, None where unknown; placeholders become None.
        times: ``datetime``, NumPy or pandas times, text in ISO 8601 or EXIF's form, or Unix seconds or milliseconds
            throughout; None where unknown. Times with a zone become UTC.
        columns: Further columns by name; ``identity``, ``camera`` and ``time`` among them stand for the arguments.

    Returns:
        Columns path, identity, camera, time, then the others in their order.

    Raises:
        InputError: If a column has another length, a name that cannot be a column's, values of several kinds, or a
            value that is no time.
    """
    given: dict[str, Sequence[Any] | None] = {"identity": identities, "camera": cameras, "time": times}
    others = dict(columns or {})
    given = {name: others.pop(name, None) if values is None else values for name, values in given.items()}
    arrays = {"path": pa.array([path_text(path) for path in paths], pa.string())}
    for name, values in given.items():
        arrays[name] = pa.nulls(len(paths), OWN_COLUMNS[name]) if values is None else _own(name, values)
    for name, values in others.items():
        _check_name(name)
        array = _free(name, values)
        # Without a value it has no type yet: the first images that have one decide.
        if len(array) != len(paths) or array.null_count < len(array):
            arrays[name] = array
    for name, array in arrays.items():
        if len(array) != len(paths):
            raise InputError(f"the column {name!r} has {len(array)} values for {len(paths)} images; expected as many")
    return pa.table(arrays)


def with_vectors(table: pa.Table, features: Features, dim: int) -> pa.Table:
    """The table and its vectors, after a check of the vectors.

    Raises:
        InputError: If they have another length, are of another number, or rows are zero, NaN or infinite.
    """
    rows = checked_features(features, dim)
    if len(rows) != len(table):
        raise InputError(f"there are {len(rows)} features for {len(table)} paths; expected as many")
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), dim)
    return table.append_column(pa.field(VECTOR, vector_type(dim), nullable=False), vectors)


def checked_features(features: Features, dim: int) -> NDArray[np.float32]:
    """Features as ``[N, dim]`` float32; one vector ``[dim]`` is taken as one row.

    Rows that are not of unit length are normalised, as everywhere (``arrays.py``).

    Raises:
        InputError: If they are of another length, or rows are zero, NaN or infinite.
    """
    try:
        given = features if isinstance(features, torch.Tensor) else np.asarray(features)
        rows = unit_rows(given if given.ndim != 1 else given[None]).cpu().numpy()
    except (ValueError, TypeError) as error:
        raise InputError(f"{error}; expected [N, {dim}] float32") from error
    if rows.shape[1] != dim:
        raise InputError(f"the features have {rows.shape[1]} values each, the gallery's vectors {dim}: another encoder")
    return np.ascontiguousarray(rows)


def vectors_of(column: pa.Array | pa.ChunkedArray, dim: int) -> NDArray[np.float32]:
    """A vector column as ``[N, dim]`` float32, an array of its own."""
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    # flatten() heeds the array's offset, and leaves out null rows: there are none.
    return np.array(array.flatten().to_numpy(zero_copy_only=False), dtype=np.float32).reshape(-1, dim)


def _own(name: str, values: Sequence[Any]) -> pa.Array:
    if name == "time":
        return _times(values)
    # "unknown" is the answer where no identity fits: it is never the name of one.
    return pa.array(without_placeholders([_as_text(value) for value in values])[0], pa.string())


def _as_text(value: object) -> str | None:
    if is_missing(value) or (isinstance(value, float | np.floating) and not np.isfinite(value)):
        return None
    if isinstance(value, float | np.floating) and float(value).is_integer():
        value = int(value)
    return _encodable(str(value).strip()) or None


def _encodable(text: str) -> str:
    """Text that a table can hold: of a file's name, bytes that are no UTF-8 become escapes (the image is left out)."""
    return text.encode("utf-8", "backslashreplace").decode()


def _times(values: Sequence[Any]) -> pa.Array:
    return pa.array(times_of(values, lambda row: f"row {row + 1}"), TIME)


def _free(name: str, values: Sequence[Any]) -> pa.Array:
    plain = [value.item() if isinstance(value, np.generic) else value for value in values]
    plain = [None if is_missing(value) else value for value in plain]
    plain = [_encodable(value) if isinstance(value, str) else value for value in plain]
    given = [value for value in plain if value is not None]
    if given and all(isinstance(value, datetime | date) for value in given):
        return pa.array([as_time(value) for value in plain], TIME)
    for kind in (bool, int, float, str):
        # True is an int to Python, and a whole number is a number: but text is nothing else.
        allowed = {bool: (bool,), int: (int,), float: (int, float), str: (str,)}[kind]
        if all(isinstance(value, allowed) and (kind is bool or not isinstance(value, bool)) for value in given):
            break
    else:
        kinds = ", ".join(sorted({type(value).__name__ for value in given}))
        raise InputError(
            f"the column {name!r} holds values of several kinds ({kinds}); "
            "expected text, numbers, true and false, or times"
        )
    types = {bool: pa.bool_(), int: pa.int64(), float: pa.float64(), str: pa.string()}
    try:
        return pa.array(plain, types[kind])
    except (OverflowError, pa.ArrowInvalid) as error:
        widest = max((value for value in given if isinstance(value, int)), key=abs)
        raise InputError(
            f"the column {name!r} holds {widest}, more than a number can have here; give it as text"
        ) from error


def _check_name(name: str) -> None:
    if not name.isidentifier() or name.startswith("_"):
        raise InputError(
            f"{name!r} cannot be the name of a column: expected a letter first, then letters, digits and _; rename the "
            "column"
        )
    if name.lower() in (*OWN_COLUMNS, *_TOLD_BY_SEARCHES, VECTOR):
        raise InputError(f"{name!r} cannot be the name of a column, because results have one of their own; rename it")
