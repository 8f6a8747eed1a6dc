"""The two means nearest to each image: of the nearest identity, and of the next."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spcl.arrays import Features, Neighbours, is_tensor

_BLOCK_VALUES = 2**24


def two_nearest(means: NDArray[np.float32], queries: Features) -> Neighbours:
    """The two nearest means of each query, the first of equal ones first; one where there is no second.

    Not ``nearest_neighbours``: its compiled code takes longer to load than an image takes to be named.

    Args:
        means: ``[I, D]`` unit rows.
        queries: ``[Q, D]`` unit rows.

    Raises:
        ValueError: If the lengths of their rows differ.
    """
    wanted = queries.cpu().numpy() if is_tensor(queries) else np.asarray(queries)
    if wanted.shape[1] != means.shape[1]:
        raise ValueError(f"queries have {wanted.shape[1]} columns, features {means.shape[1]}; they must be equal")
    num_found = min(2, len(means))
    indices = np.empty((len(wanted), num_found), dtype=np.int64)
    best = np.empty((len(wanted), num_found), dtype=np.float32)
    block = max(1, _BLOCK_VALUES // len(means))
    for start in range(0, len(wanted), block):
        # In this order the product takes less time for few queries, because the means are not copied.
        similarities = np.ascontiguousarray((means @ wanted[start : start + block].T).T)
        rows = np.arange(len(similarities))
        for place in range(num_found):
            nearest = similarities.argmax(axis=1)
            indices[start : start + block, place] = nearest
            best[start : start + block, place] = similarities[rows, nearest]
            similarities[rows, nearest] = -np.inf
    return Neighbours(indices, best)
