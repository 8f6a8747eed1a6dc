"""Features as blocks of rows: a NumPy file or array, or what ``spcl embed`` writes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from spcl.arrays import require_real
from spcl.data.image_files import what_is_there
from spcl.errors import InputError, first_line
from spcl.gallery.features_file import FeaturesFile, is_features_file

_ROWS_AT_ONCE = 16384
_SAMPLED = 256


class FeatureBlocks(Protocol):
    """Rows of features that are read block after block.

    Attributes:
        num_rows: N.
        dim: D, the length of a feature.
    """

    num_rows: int
    dim: int

    def blocks(self) -> Iterator[NDArray[Any]]:
        """Give all rows in order, ``[n, D]`` at a time."""

    def digest(self) -> str:
        """Give a number of the features, by which a later run recognises them."""


def feature_blocks(features: str | Path | NDArray[np.floating]) -> FeatureBlocks:
    """Open features.

    Args:
        features: A ``.npy`` file, a Parquet file or a folder from ``spcl embed``, or an ``[N, D]`` array.

    Raises:
        InputError: If there is no such file, or it cannot be read as features.
    """
    if not isinstance(features, str | Path):
        return _Matrix(np.asanyarray(features), "features")
    path = Path(features)
    if path.suffix == ".npy" and path.is_file():
        try:
            rows = np.load(path, mmap_mode="r")
        except (OSError, ValueError, EOFError) as error:
            raise InputError(
                f"{path} cannot be read as a NumPy matrix: {first_line(error)}; get or make it again",
                code="damaged-file",
            ) from error
        return _Matrix(rows, str(path))
    if is_features_file(path):
        return _Embedded(path)
    raise InputError(
        f"{path} holds no features: {what_is_there(path)}. Expected a .npy file, or what spcl embed CHECKPOINT IMAGES "
        "-o features writes",
        code="not-a-features-file",
    )


class _Matrix:
    def __init__(self, rows: NDArray[Any], name: str) -> None:
        if rows.ndim != 2 or not rows.shape[1]:
            raise InputError(f"{name} has shape {rows.shape}; expected [rows, columns]", code="not-a-features-file")
        try:
            require_real(rows, name)
        except ValueError as error:
            raise InputError(str(error), code="not-a-features-file") from error
        self._rows = rows
        self.num_rows, self.dim = rows.shape

    def blocks(self) -> Iterator[NDArray[Any]]:
        for start in range(0, self.num_rows, _ROWS_AT_ONCE):
            yield np.array(self._rows[start : start + _ROWS_AT_ONCE])

    def digest(self) -> str:
        sample = np.unique(np.linspace(0, max(0, self.num_rows - 1), _SAMPLED).astype(np.int64))[: self.num_rows]
        return hashlib.sha256(np.ascontiguousarray(self._rows[sample]).tobytes()).hexdigest()[:16]


class _Embedded:
    def __init__(self, path: Path) -> None:
        self._path, self._file = path, FeaturesFile(path)
        self.num_rows, self.dim = len(self._file), self._file.dim

    def blocks(self) -> Iterator[NDArray[Any]]:
        for _, vectors in self._file.parts():
            yield vectors

    def digest(self) -> str:
        files = sorted(self._path.glob("part-*.parquet")) if self._path.is_dir() else [self._path]
        sizes = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]
        return hashlib.sha256(repr(sizes).encode()).hexdigest()[:16]
