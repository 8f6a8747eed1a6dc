"""Features for galleries in tests."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def unit_rows(num: int, dim: int = 8, seed: int = 0) -> NDArray[np.float32]:
    """Random directions."""
    rows = np.random.default_rng(seed).standard_normal((num, dim)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def names(num: int, first: int = 0) -> list[str]:
    """Paths of images that need not exist."""
    return [f"gate/{number:04d}.jpg" for number in range(first, first + num)]
