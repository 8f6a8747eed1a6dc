"""Random features on which numbers go wrong first: equal rows, nearly equal similarities, tiny and huge values."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

KINDS = ("plain", "groups", "duplicates", "near-ties", "tiny", "huge", "few-values", "one-direction")


def hard_features(kind: str, seed: int, num: int = 0, dim: int = 0) -> NDArray[np.float32]:
    """``[num, dim]`` float32 rows, of unit length except for ``tiny`` and ``huge``.

    Args:
        kind: One of ``KINDS``.
        seed: Seed of the rows.
        num: Number of rows; 0: from 60 to 300, by the seed.
        dim: Length of a row; 0: from 3 to 64, by the seed.
    """
    rng = np.random.default_rng([KINDS.index(kind), seed])
    num, dim = num or int(rng.integers(60, 300)), dim or int(rng.integers(3, 65))
    rows = rng.standard_normal((num, dim))
    if kind == "groups":
        rows = rng.standard_normal((num // 8, dim))[rng.integers(0, num // 8, num)] + 0.3 * rows
    elif kind == "duplicates":
        rows = rows[rng.integers(0, num // 4, num)]
    elif kind == "near-ties":
        # Differences of about the last bit of a float32.
        rows = rows[rng.integers(0, num // 6, num)] * (1 + rng.integers(-2, 3, (num, dim)) * 2.0**-23)
    elif kind == "few-values":
        rows = rng.integers(-1, 2, (num, dim)).astype(np.float64)
        rows[~rows.any(axis=1), 0] = 1
    elif kind == "one-direction":
        rows = np.ones((num, dim)) + 1e-3 * rows
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    if kind in ("tiny", "huge"):
        low, high = (-15, -5) if kind == "tiny" else (5, 15)
        rows *= 10.0 ** rng.uniform(low, high, (num, 1))
    return rows.astype(np.float32)
