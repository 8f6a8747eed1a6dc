"""Features to measure with: clusters of very unequal sizes, and points that belong to none."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_LATENT = 16
_ROWS_AT_ONCE = 65536


def mixture(num: int, dim: int, seed: int = 0, *, noise_share: float = 0.1) -> NDArray[np.float32]:
    """Unit rows ``[num, dim]`` as an encoder gives them halfway through training.

    Clusters have heavy-tailed sizes (Pareto, from 2 images to a twentieth of all); a share of the rows belongs to no
    cluster. What distinguishes objects varies in few directions, as in real features (colours, shapes), so that the
    neighbours of a row outside its cluster are similar objects; within a cluster rows scatter in all directions.
    Rows come in random order.
    """
    rng = np.random.default_rng(seed)
    sizes = np.maximum(2, rng.pareto(1.2, max(1, num // 8)) * 6).astype(np.int64)
    sizes = np.minimum(sizes, max(2, num // 20))
    clustered = np.repeat(np.arange(len(sizes)), sizes)[: num - round(noise_share * num)]
    alone = clustered.max(initial=-1) + 1 + np.arange(num - len(clustered))
    labels = np.concatenate([clustered, alone])[rng.permutation(num)]
    num_objects = int(labels.max(initial=-1)) + 1
    latent = rng.standard_normal((num_objects, _LATENT), dtype=np.float32)
    directions = rng.standard_normal((_LATENT, dim), dtype=np.float32) / np.sqrt(np.float32(_LATENT))
    rows = np.empty((num, dim), dtype=np.float32)
    for at in range(0, num, _ROWS_AT_ONCE):
        part = labels[at : at + _ROWS_AT_ONCE]
        block = latent[part] @ directions
        block += 0.6 * rng.standard_normal(block.shape, dtype=np.float32)
        block /= np.linalg.norm(block, axis=1, keepdims=True)
        rows[at : at + len(part)] = block
    return rows
