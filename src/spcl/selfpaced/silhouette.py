"""Silhouette of given clusters, by cosine distance, without an N x N array.

One of the figures of ``label_free_quality.py``. Rousseeuw, *Silhouettes*, 1987.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spcl.randomness import generator
from spcl.selfpaced.clustering import NOISE

_MOST_PRODUCTS = 2e11
"""Multiplications of a silhouette, beyond which images are sampled: some seconds."""


def silhouette(
    features: NDArray[np.float32], labels: NDArray[np.int64], *, max_products: float = _MOST_PRODUCTS, seed: int = 0
) -> float | None:
    """How much nearer clustered images are to their own cluster than to the next one: scikit-learn's score.

    Cosine distance; images without a cluster are left out. The mean distance to a cluster is one product with its mean,
    so nothing is larger than a block of images times the clusters. Misleads after training: clusters that were trained
    on are tight, right or wrong, which is why it is taken on images that were held back; and it is of the clusters
    found, not of the objects: two persons in one tight cluster score well.

    Args:
        features: ``[N, D]`` unit rows.
        labels: ``[N]`` int, -1 no cluster.
        max_products: Images are sampled beyond so many multiplications.
        seed: Of the sample.

    Returns:
        A value in [-1, 1]; None where there are not two clusters.

    Cost: ``N C D`` for C clusters, at most ``max_products``.
    """
    clustered = np.flatnonzero(labels != NOISE)
    names, own = np.unique(labels[clustered], return_inverse=True)
    if len(names) < 2:
        return None
    rows = features[clustered]
    own = own.reshape(-1)
    sizes = np.bincount(own).astype(np.float64)
    sums = np.zeros((len(names), rows.shape[1]))
    np.add.at(sums, own, rows)
    chosen = np.arange(len(rows))
    fitting = max(1, int(max_products / (len(names) * rows.shape[1])))
    if fitting < len(chosen):
        chosen = generator(seed, "images of a silhouette").choice(len(rows), size=fitting, replace=False)
    total = 0.0
    for at in range(0, len(chosen), 1024):
        block = chosen[at : at + 1024]
        total += float(silhouettes(rows[block].astype(np.float64), own[block], sums, sizes).sum())
    return total / len(chosen)


def silhouettes(
    rows: NDArray[np.float64], own: NDArray[np.intp], sums: NDArray[np.float64], sizes: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The silhouette of each image of a block, with cosine distance.

    Args:
        rows: ``[B, D]`` unit rows.
        own: ``[B]`` the cluster of each, from 0.
        sums: ``[C, D]`` the sum of each cluster's rows, at least two clusters.
        sizes: ``[C]`` images in each.

    Returns:
        ``[B]`` float64 in [-1, 1]; 0 for an image alone in its cluster.
    """
    place = np.arange(len(rows)), own
    distances = sizes - rows @ sums.T  # the sum of the distances to each cluster's members
    others = sizes[own] - 1
    # The image's distance to itself is zero up to rounding, and no row is exactly of unit length: leave it out.
    to_itself = 1 - np.einsum("bd,bd->b", rows, rows)
    within = np.maximum(0, distances[place] - to_itself) / np.maximum(others, 1)
    distances /= sizes
    distances[place] = np.inf
    nearest = np.maximum(0, distances.min(axis=1))
    largest = np.maximum(np.maximum(within, nearest), np.finfo(np.float64).tiny)
    return np.where(others > 0, (nearest - within) / largest, 0.0)
