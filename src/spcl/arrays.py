"""Checks of feature arrays, shared by all steps, and the result type of a search.

Every public function that takes features checks them here, in the same way. All of them use cosine similarity, so the
direction of a row counts and its length does not: rows that are not of unit length are normalised, with a warning if
they are far from it. A row without a direction (zeros, NaN, infinity) raises an error with its number. Settings are
checked in ``settings_checks.py``.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

# Loaded by the functions that need it: a server that runs another engine starts without torch.
if TYPE_CHECKING:
    import torch
    from typing_extensions import TypeIs

    Features = NDArray[np.floating] | torch.Tensor
else:
    Features = NDArray[np.floating]
Progress = Callable[[int, int], None]

ROUNDING = 1e-5
"""Rows whose length differs from 1 by less are not changed: normalising in single precision gives no better."""

UNIT_TOLERANCE = 1e-2
"""Rows whose length differs from 1 by less are normalised without a warning: half precision rounds by this much."""

_ROWS_AT_ONCE = 16384
_ROWS_TO_NORMALISE = 2048
_MOST_LISTED = 5


class Neighbours(NamedTuple):
    """The result of a search, nearest first.

    Attributes:
        indices: ``[Q, k]`` int64, row numbers of the searched set; ties go to the smaller row number. -1 where an
            approximate search found fewer.
        similarities: ``[Q, k]`` float32, inner products.
        engine: Engine of the search: ``torch``, ``faiss`` or ``approximate``.
        recall: Share of the true neighbours that were found: 1 for an exact search, otherwise measured on a sample.
    """

    indices: NDArray[np.int64]
    similarities: NDArray[np.float32]
    engine: str = "torch"
    recall: float = 1.0


def unit_rows(features: Features, name: str = "features", *, warns: bool = True) -> torch.Tensor:
    """Check features, and normalise those that are not of unit length.

    Args:
        features: ``[N, D]`` real numbers, NumPy or torch, of any precision, byte order and layout; not changed.
        name: Name of the features in error messages.
        warns: Whether to warn of rows that are far from unit length.

    Returns:
        ``[N, D]`` float32, contiguous, on the device of the features; the given array if nothing has to be changed.

    Raises:
        ValueError: If the features are not two-dimensional, not real numbers, or rows are zero, NaN or infinite; the
            message names the rows.

    Warns:
        UserWarning: If a length differs from 1 by more than ``UNIT_TOLERANCE``.

    Cost: one pass; a copy of the array where it has to be converted or normalised.
    """
    import torch

    given = _as_tensor(features, name)
    rows = given.to(torch.float32).contiguous()
    # Written so that NaN is an error.
    is_wrong = ~((_squared_lengths(rows) - 1).abs() <= 2 * ROUNDING)
    if not bool(is_wrong.any()):
        return rows
    if rows.data_ptr() == given.data_ptr():
        rows = rows.clone()
    farthest = _normalise(given, rows, is_wrong.nonzero()[:, 0], name)
    if warns and farthest is not None:
        warnings.warn(
            f"{name} are not of unit length ({farthest}): they are normalised, because similarity is the cosine",
            UserWarning,
            stacklevel=_callers_level(),
        )
    return rows


def is_tensor(value: object) -> TypeIs[torch.Tensor]:
    """Whether a value is a tensor of torch; torch is not loaded for the answer."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def unit_matrix(features: Features, name: str = "features") -> NDArray[np.float32]:
    """Give the rows of ``unit_rows`` in NumPy; torch is not loaded for rows that need no change.

    Args:
        features: ``[N, D]`` real numbers; not changed.
        name: Name of the features in error messages.

    Raises:
        ValueError: In the cases of ``unit_rows``.
    """
    if type(features) is np.ndarray and features.ndim == 2 and features.dtype == np.float32 and features.shape[1]:
        squared = np.einsum("nd,nd->n", features, features)
        # Written so that NaN is not taken.
        if features.flags.c_contiguous and bool((np.abs(squared - 1) <= 2 * ROUNDING).all()):
            return features
    return unit_rows(features, name).cpu().numpy()


def finite_rows(features: Features, name: str = "features") -> torch.Tensor:
    """Check features without normalising them, for inner products: ``[N, D]`` float32, contiguous.

    Raises:
        ValueError: If the features are not two-dimensional, not real numbers, NaN or infinite, or so large that inner
            products overflow.
    """
    import torch

    given = _as_tensor(features, name)
    rows = given.to(torch.float32).contiguous()
    if not bool(torch.isfinite(_squared_lengths(rows)).all()):
        _refuse(~torch.isfinite(given).all(dim=1), f"{name} hold values that are not finite (NaN or infinity)")
        raise ValueError(f"{name} hold values whose squares are too large for single precision: normalise the rows")
    return rows


def real_tensor(values: object, name: str) -> torch.Tensor:
    """Convert real numbers to a tensor, on the same memory if torch allows it; a tensor keeps its gradient.

    Args:
        values: An array of any shape, NumPy or torch, of any precision, byte order and layout; not changed.
        name: Name of the array in error messages.

    Raises:
        ValueError: If the values are not an array of real numbers; the message names the array and its type.
    """
    if is_tensor(values):
        require_real(values, name)
        return values
    return _from_numpy(values, name)


def whole_tensor(values: object, name: str) -> torch.Tensor:
    """Convert whole numbers to an int64 tensor; a tensor stays on its device.

    Args:
        values: An array of any shape, NumPy or torch; not changed.
        name: Name of the array in error messages.

    Raises:
        ValueError: If the values are not of an integer type, or too large for 64 bits.
    """
    import torch

    if isinstance(values, torch.Tensor):
        _require_plain(values, name)
        if values.is_floating_point() or values.is_complex() or values.dtype == torch.bool:
            raise ValueError(f"{name} are {values.dtype}; expected whole numbers")
        return values.to(torch.int64)
    array = _as_array(values, name)
    if array.dtype.kind not in "iu" and array.size:
        raise ValueError(f"{name} are of {array.dtype}; expected whole numbers")
    if array.dtype.kind == "u" and array.size and int(array.max()) > np.iinfo(np.int64).max:
        raise ValueError(f"{name} go up to {array.max()}; expected numbers of 64 bits with a sign")
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.int64).reshape(array.shape))


def require_real(values: NDArray[Any] | torch.Tensor, name: str) -> None:
    """Raise a ``ValueError`` unless an array is dense and of real numbers; nothing is converted."""
    if is_tensor(values):
        import torch

        _require_plain(values, name)
        if values.is_complex() or values.dtype == torch.bool:
            raise ValueError(f"{name} are of {values.dtype}; expected real numbers")
        return
    if values.dtype.kind not in "fiu":
        hint = "; .astype('float32') makes numbers of what holds only numbers" if values.dtype.kind == "O" else ""
        raise ValueError(f"{name} are of {values.dtype}; expected real numbers{hint}")


def _as_tensor(features: Features, name: str) -> torch.Tensor:
    """Convert ``[N, D]`` real numbers to a tensor, on the same memory if torch allows it."""
    tensor = real_tensor(features, name).detach()
    if tensor.ndim != 2:
        raise ValueError(f"{name} have shape {tuple(tensor.shape)}; expected [rows, columns]")
    if len(tensor) and not tensor.shape[1]:
        raise ValueError(f"{name} have {len(tensor)} rows and no columns; expected one feature in each row")
    return tensor


def _require_plain(values: torch.Tensor, name: str) -> None:
    import torch

    if values.layout is not torch.strided or values.is_quantized or values.is_nested:
        raise ValueError(f"{name} are not a plain tensor ({values.layout}); give a dense one")


def _as_array(features: object, name: str) -> NDArray[Any]:
    if hasattr(features, "toarray"):
        raise ValueError(f"{name} are a sparse array; give a dense one (.toarray())")
    if isinstance(features, np.ma.MaskedArray) and np.ma.getmaskarray(features).any():
        raise ValueError(f"{name} are a masked array; leave masked rows out, or fill them")
    try:
        return np.asarray(features)
    except (ValueError, TypeError, OverflowError) as error:
        raise ValueError(f"{name} cannot be read as an array of numbers: {error}") from error


def _from_numpy(features: object, name: str) -> torch.Tensor:
    import torch

    array = _as_array(features, name)
    require_real(array, name)
    if array.dtype.kind in "iu" or array.dtype.itemsize > 8:
        array = array.astype(np.float32 if array.dtype.itemsize <= 2 else np.float64)
    # Torch takes neither the other byte order nor rows that are read backwards.
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    if any(stride < 0 for stride in array.strides):
        array = np.ascontiguousarray(array)
    if array.flags.writeable:
        return torch.from_numpy(array)
    with warnings.catch_warnings():
        # torch warns that writing to a read-only array is undefined: nothing is written to it here.
        warnings.filterwarnings("ignore", message=".*not writable.*")
        return torch.from_numpy(array)


def _squared_lengths(rows: torch.Tensor) -> torch.Tensor:
    """Compute ``[N]`` float32 in blocks of rows, so that no array of the size of the input is made."""
    import torch

    parts = [torch.linalg.vecdot(part, part) for part in torch.split(rows, _ROWS_AT_ONCE)]
    return torch.cat(parts) if parts else rows.new_zeros(0)


def _normalise(given: torch.Tensor, rows: torch.Tensor, places: torch.Tensor, name: str) -> str | None:
    """Write the unit rows of some of the given rows, computed in double precision, into ``rows``.

    Returns:
        A description of the row whose length differs most from 1; None if none differs by more than
        ``UNIT_TOLERANCE``.
    """
    import torch

    largest = torch.empty(len(places), dtype=torch.float64)
    lengths = torch.empty(len(places), dtype=torch.float64)
    for start in range(0, len(places), _ROWS_TO_NORMALISE):
        part = slice(start, start + _ROWS_TO_NORMALISE)
        # Not every device has double precision.
        some = given[places[part]].cpu().double()
        largest[part] = some.abs().amax(dim=1)
        # Divided by the largest value first: squares of very large or small values are out of range.
        some /= largest[part].unsqueeze(1)
        lengths[part] = torch.linalg.vector_norm(some, dim=1)
        rows[places[part]] = (some / lengths[part].unsqueeze(1)).to(rows)
    on_host = places.cpu()
    _refuse(~torch.isfinite(largest), f"{name} hold values that are not finite (NaN or infinity)", on_host)
    _refuse(largest == 0, f"{name} hold rows of zeros, which have no direction; leave them out", on_host)
    lengths *= largest
    far = (lengths - 1).abs()
    worst = int(far.argmax())
    if float(far[worst]) <= UNIT_TOLERANCE:
        return None
    return f"row {int(on_host[worst])} has length {float(lengths[worst]):.4g}"


def _refuse(is_wrong: torch.Tensor, what: str, places: torch.Tensor | None = None) -> None:
    """Raise a ``ValueError`` that names the wrong rows, if there are any."""
    wrong = is_wrong.nonzero()[:, 0].cpu()
    if not len(wrong):
        return
    numbers = (wrong if places is None else places[wrong]).tolist()
    listed = ", ".join(str(number) for number in numbers[:_MOST_LISTED]) + (", ..." if len(numbers) > 5 else "")
    where = f"row {listed}" if len(numbers) == 1 else f"{len(numbers)} rows: {listed}"
    raise ValueError(f"{what}: {where}")


def _callers_level() -> int:
    """Count the calls up to the first line outside this package and torch, so that a warning names the user's line."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and str(frame.f_globals.get("__name__", "")).split(".")[0] in ("spcl", "torch"):
        level, frame = level + 1, frame.f_back
    return level
