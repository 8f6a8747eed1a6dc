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

_BLOCK_BYTES = 16 * 2**20
"""The most memory that the distances of some images to some clusters take."""

_ROWS_AT_ONCE = 1024


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
        seed: Seed of the random sample.

    Returns:
        A value in [-1, 1]; None where there are not two clusters.

    Cost: ``N C D`` for C clusters, at most ``max_products``.
    """
    clustered = np.flatnonzero(labels != NOISE)
    names, own = np.unique(labels[clustered], return_inverse=True)
    if len(names) < 2:
        return None
    chosen = None
    fitting = max(1, int(max_products / (len(names) * features.shape[1])))
    if fitting < len(clustered):
        chosen = generator(seed, "images of a silhouette").choice(len(clustered), size=fitting, replace=False)
    return float(silhouettes(features, clustered, own.reshape(-1), chosen=chosen).mean())


def silhouettes(
    features: NDArray[np.float32],
    members: NDArray[np.integer],
    own: NDArray[np.integer],
    *,
    chosen: NDArray[np.integer] | None = None,
    block_bytes: int = _BLOCK_BYTES,
) -> NDArray[np.float64]:
    """The silhouette of each clustered image, with cosine distance.

    Where there is but one cluster, the next one is an unrelated direction.

    Args:
        features: ``[N, D]`` unit rows.
        members: ``[M]`` the rows that are in a cluster, each once.
        own: ``[M]`` the cluster of each, from 0.
        chosen: ``[S]`` which of the M are wanted; None: all.
        block_bytes: The most memory for the distances of some images to some clusters.

    Returns:
        ``[S]`` float64 in [-1, 1]; 0 for an image alone in its cluster.

    Cost: ``S C D`` for C clusters. Memory: ``8 C D`` for their means, and blocks.
    """
    sums = np.zeros((max(2, int(own.max(initial=0)) + 1), features.shape[1]))
    for at in range(0, len(members), _ROWS_AT_ONCE):
        part = slice(at, at + _ROWS_AT_ONCE)
        np.add.at(sums, own[part], features[members[part]])
    sizes = np.maximum(1, np.bincount(own, minlength=len(sums))).astype(np.float64)
    wanted = np.arange(len(members)) if chosen is None else chosen
    found = np.empty(len(wanted))
    for at in range(0, len(wanted), _ROWS_AT_ONCE):
        some = wanted[at : at + _ROWS_AT_ONCE]
        rows = features[members[some]].astype(np.float64)
        found[at : at + len(some)] = _of_a_block(rows, own[some], sums, sizes, block_bytes)
    return found


def _of_a_block(
    rows: NDArray[np.float64],
    own: NDArray[np.integer],
    sums: NDArray[np.float64],
    sizes: NDArray[np.float64],
    block_bytes: int,
) -> NDArray[np.float64]:
    others = sizes[own] - 1
    # The image's distance to itself is zero up to rounding, and no row is exactly of unit length: leave it out.
    to_itself = 1 - np.einsum("bd,bd->b", rows, rows)
    to_own = sizes[own] - np.einsum("bd,bd->b", rows, sums[own])
    within = np.maximum(0, to_own - to_itself) / np.maximum(others, 1)
    nearest = np.full(len(rows), np.inf)
    width = max(1, block_bytes // (8 * max(1, len(rows))))
    for first in range(0, len(sums), width):
        some = slice(first, first + width)
        distances = rows @ sums[some].T
        np.subtract(1, np.divide(distances, sizes[some], out=distances), out=distances)
        here = (own >= first) & (own < first + width)
        distances[here, own[here] - first] = np.inf
        np.minimum(nearest, distances.min(axis=1), out=nearest)
    nearest = np.maximum(0, nearest)
    largest = np.maximum(np.maximum(within, nearest), np.finfo(np.float64).tiny)
    return np.where(others > 0, (nearest - within) / largest, 0.0)
