"""Columns of a gallery beside the vector, as Arrow columns: checked, and of one type each.

``path``, ``identity`` and ``camera`` are text, as the user wrote them (a number becomes its digits, so that a gallery
may have the cameras ``3`` and ``north gate``). ``time`` is a time without zone. Every other column is text, an integer,
a number, true or false, or a time; its first values decide.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from pathlib import PurePath
from typing import Any, TypedDict

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from spcl.arrays import Features, is_tensor, unit_matrix
from spcl.data.cloud_storage import address_of
from spcl.data.placeholders import is_missing, without_placeholders
from spcl.data.time_parsing import as_time, times_of
from spcl.errors import InputError

VECTOR = "vector"
KEY = "_key"
"""The hidden column with the key of each row (``keys.py``); a user's column cannot have this name."""

TIME = pa.timestamp("us")
OWN_COLUMNS = {"path": pa.string(), "identity": pa.string(), "camera": pa.string(), "time": TIME}

_COLUMNS_OF_RESULTS = ("similarity", "distance")
_SQL_WORDS = ("null", "true", "false", "and", "or", "not", "in", "is", "like", "ilike", "between")
_KINDS = {
    "text": pa.string(),
    "whole number": pa.int64(),
    "number": pa.float64(),
    "true or false": pa.bool_(),
    "time": TIME,
}


class ImageColumns(TypedDict, total=False):
    """Columns of images: the keywords of ``Gallery.add``, each with a value for each image.

    Attributes:
        identities: Text or numbers; None where unknown.
        cameras: Text or numbers; None where unknown.
        times: ``datetime`` or text such as ``2026-01-01 08:00``; None where unknown.
        columns: Further columns by name.
    """

    identities: Sequence[Any] | None
    cameras: Sequence[Any] | None
    times: Sequence[Any] | None
    columns: Mapping[str, Sequence[Any]] | None


def columns_by_name(
    *,
    identities: Sequence[Any] | None = None,
    cameras: Sequence[Any] | None = None,
    times: Sequence[Any] | None = None,
    columns: Mapping[str, Sequence[Any]] | None = None,
) -> dict[str, Sequence[Any]]:
    """The given columns by their names in a gallery; a column that is None is left out.

    Raises:
        InputError: If ``columns`` has a column called ``identity``, ``camera`` or ``time`` whose own argument is given.
    """
    given = {"identity": identities, "camera": cameras, "time": times}
    own = {name: values for name, values in given.items() if values is not None}
    for name in own:
        if name in (columns or {}):
            raise InputError(
                f"the column {name!r} is given twice, by its own argument and among the columns; give it once",
                code="column-given-twice",
            )
    return dict(columns or {}) | own


def vector_type(dim: int) -> pa.DataType:
    """The Arrow type of a vector column: ``dim`` float32 values in each row."""
    return pa.list_(pa.float32(), dim)


def column_kind(data_type: pa.DataType) -> str:
    """Name the type of a column for users: ``text``, ``whole number``, ``number``, ``true or false`` or ``time``."""
    return next((kind for kind, known in _KINDS.items() if known == data_type), str(data_type))


def path_text(path: object) -> str:
    """A path as text with forward slashes; text is not changed."""
    text = path.as_posix() if isinstance(path, PurePath) else str(path)
    return _encodable(address_of(text) or text)


def described(
    paths: Sequence[object],
    *,
    identities: Sequence[Any] | None = None,
    cameras: Sequence[Any] | None = None,
    times: Sequence[Any] | None = None,
    columns: Mapping[str, Sequence[Any]] | None = None,
) -> pa.Table:
    """Make the Arrow table of images, without vectors.

    Args:
        paths: Paths of the images, or other unique names.
        identities: Text or numbers, None where unknown; placeholders (-1, ``unknown``, ``n/a``) become None.
        cameras: Text or numbers, None where unknown; placeholders become None.
        times: ``datetime``, NumPy or pandas times, text in ISO 8601 or EXIF's form, or Unix seconds or milliseconds
            throughout; None where unknown. Times with a zone become UTC.
        columns: Further columns by name; also ``identity``, ``camera`` and ``time``, instead of their own arguments.

    Returns:
        The columns path, identity, camera and time, then the further columns in their order.

    Raises:
        InputError: If a column has another length, an invalid name, values of several types, or a value that is no
            time.
    """
    others = columns_by_name(identities=identities, cameras=cameras, times=times, columns=columns)
    given = {name: others.pop(name, None) for name in ("identity", "camera", "time")}
    arrays = {"path": pa.array([path_text(path) for path in paths], pa.string())}
    for name, values in given.items():
        arrays[name] = pa.nulls(len(paths), OWN_COLUMNS[name]) if values is None else _own(name, values)
    check_new_columns(others, ())
    for name, values in others.items():
        _check_name(name)
        array = _free(name, values)
        # A column without values has no type yet: it is made when the first value is added.
        if len(array) != len(paths) or array.null_count < len(array):
            arrays[name] = array
    for name, array in arrays.items():
        if len(array) != len(paths):
            raise InputError(
                f"the column {name!r} has {len(array)} values for {len(paths)} images; expected as many",
                code="length-mismatch",
            )
    return pa.table(arrays)


def with_vectors(table: pa.Table, features: Features, dim: int) -> pa.Table:
    """Append checked vectors to a table.

    Raises:
        InputError: If the vectors have another length, their number differs from that of the rows, or a vector is zero,
            NaN or infinite.
    """
    rows = checked_features(features, dim)
    if len(rows) != len(table):
        raise InputError(
            f"there are {len(rows)} features for {len(table)} paths; expected as many", code="length-mismatch"
        )
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(rows.ravel()), dim)
    return table.append_column(pa.field(VECTOR, vector_type(dim), nullable=False), vectors)


def checked_features(features: Features, dim: int) -> NDArray[np.float32]:
    """Give features as ``[N, dim]`` float32 with unit rows; one vector ``[dim]`` becomes one row.

    Rows that are not of unit length are normalised (``arrays.py``).

    Raises:
        InputError: If the features have another length, or a row is zero, NaN or infinite.
    """
    try:
        given = features if is_tensor(features) else np.asarray(features)
        rows = unit_matrix(given if given.ndim != 1 else given[None])
    except (ValueError, TypeError) as error:
        raise InputError(f"{error}; expected [N, {dim}] float32", code="invalid-features") from error
    if rows.shape[1] != dim:
        raise InputError(
            f"the features have the length {rows.shape[1]}, and the gallery's vectors {dim}: use the gallery's encoder",
            code="feature-length-mismatch",
        )
    return np.ascontiguousarray(rows)


def vectors_of(column: pa.Array | pa.ChunkedArray, dim: int) -> NDArray[np.float32]:
    """Copy a vector column into a ``[N, dim]`` float32 array."""
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    # flatten() respects the array's offset. It leaves out null rows, but a gallery has none.
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
    """Text that Arrow can hold: bytes of a file name that are not UTF-8 become escapes."""
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
        # In Python, True is an int; here it is not, but an integer is a number.
        allowed = {bool: (bool,), int: (int,), float: (int, float), str: (str,)}[kind]
        if all(isinstance(value, allowed) and (kind is bool or not isinstance(value, bool)) for value in given):
            break
    else:
        kinds = ", ".join(sorted({type(value).__name__ for value in given}))
        raise InputError(
            f"the column {name!r} holds values of several kinds ({kinds}); "
            "expected text, numbers, true and false, or times",
            code="mixed-column",
        )
    types = {bool: pa.bool_(), int: pa.int64(), float: pa.float64(), str: pa.string()}
    try:
        return pa.array(plain, types[kind])
    except (OverflowError, pa.ArrowInvalid) as error:
        widest = max((value for value in given if isinstance(value, int)), key=abs)
        raise InputError(
            f"the column {name!r} holds {widest}, which is too large for a number column; give the column as text",
            code="number-too-large",
        ) from error


def check_new_columns(new: Iterable[str], known: Iterable[str]) -> None:
    """Raise an ``InputError`` for a new column whose name differs from another one only in capital letters.

    Filters do not distinguish capital letters, so that such a column could not be named.

    Args:
        new: Names of the columns to add.
        known: Names of the existing columns.
    """
    existing = list(known)
    spelled = {name.lower(): name for name in existing}
    for name in new:
        other = spelled.setdefault(name.lower(), name)
        if other != name and name not in existing:
            raise InputError(
                f"the columns {other!r} and {name!r} differ only in capital letters, which filters do not distinguish; "
                "rename one of them",
                code="ambiguous-column-name",
            )


def _check_name(name: str) -> None:
    if not name.isidentifier() or name.startswith("_"):
        raise InputError(
            f"{name!r} cannot be the name of a column: expected a letter first, then letters, digits and _; rename the "
            "column",
            code="invalid-column-name",
        )
    if name.lower() in _SQL_WORDS:
        raise InputError(
            f"{name!r} cannot be the name of a column, because it is a word of filters; rename it",
            code="reserved-column-name",
        )
    if name.lower() in (*OWN_COLUMNS, *_COLUMNS_OF_RESULTS, VECTOR):
        raise InputError(
            f"{name!r} cannot be the name of a column, because results have one of their own; rename it",
            code="reserved-column-name",
        )
