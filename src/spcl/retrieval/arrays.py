"""What the searches share: the kinds of arrays they take, and the form of their answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

Features = NDArray[np.floating] | torch.Tensor
Progress = Callable[[int, int], None]


class Neighbours(NamedTuple):
    """The result of a search, nearest first.

    Attributes:
        indices: ``[Q, k]`` int64, row numbers of the searched set; ties go to the smaller row number. -1 where an
            approximate search found fewer.
        similarities: ``[Q, k]`` float32, inner products.
        engine: What searched: ``torch``, ``faiss`` or ``approximate``.
        recall: Share of the true neighbours that were found: 1 for an exact search, measured on a sample otherwise.
    """

    indices: NDArray[np.int64]
    similarities: NDArray[np.float32]
    engine: str = "torch"
    recall: float = 1.0


def as_float32(features: Features, name: str) -> torch.Tensor:
    """``[N, D]`` float32 tensor over the given array, contiguous, checked for shape and finite values."""
    tensor = features.detach() if isinstance(features, torch.Tensor) else torch.as_tensor(np.asarray(features))
    if tensor.ndim != 2:
        raise ValueError(f"{name} have shape {tuple(tensor.shape)}; expected [rows, columns]")
    tensor = tensor.to(torch.float32).contiguous()
    # The sum of a row is finite exactly when its values are, save for overflow: and it makes no N x D copy.
    if tensor.numel() and not bool(torch.isfinite(tensor.sum(dim=1)).all()):
        bad = int((~torch.isfinite(tensor).all(dim=1)).nonzero()[0]) if not torch.isfinite(tensor).all() else -1
        if bad >= 0:
            raise ValueError(f"{name} hold a value that is not finite, first in row {bad}")
    return tensor
