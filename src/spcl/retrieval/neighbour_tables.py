"""The check of a table of neighbours, which every step of the k-reciprocal encoding makes."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray


def checked_table(neighbours: NDArray[np.integer] | torch.Tensor) -> NDArray[np.int32]:
    """Check a table of neighbours, and convert it.

    Args:
        neighbours: ``[N, k]`` int, NumPy or torch: row numbers below N, or -1 where there is no neighbour.

    Returns:
        ``[N, k]`` int32, contiguous.

    Raises:
        ValueError: If the table is not two-dimensional, holds no integers, or a number is out of range.
    """
    table = np.asarray(neighbours.cpu() if isinstance(neighbours, torch.Tensor) else neighbours)
    if table.ndim != 2 or not np.issubdtype(table.dtype, np.integer):
        raise ValueError(f"neighbours are {table.dtype} of shape {table.shape}; expected integers [N, k]")
    if table.size and (table.max() >= len(table) or table.min() < -1):
        raise ValueError(f"neighbours must be row numbers from 0 to {len(table) - 1}, or -1 for none")
    return np.ascontiguousarray(table, dtype=np.int32)
