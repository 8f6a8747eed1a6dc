"""Silhouette of given clusters, by cosine distance, without an N x N array.

One of the figures of ``label_free_quality.py``. Rousseeuw, *Silhouettes*, 1987.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spcl.randomness import generator
from spcl.selfpaced.clustering import NOISE

_MOST_PRODUCTS = 2e11
"""Largest number of multiplications of a silhouette, some seconds; for more, images are sampled."""

_BLOCK_BYTES = 16 * 2**20
"""Largest memory of a block of distances of images to clusters, in bytes."""

_ROWS_AT_ONCE = 1024


def silhouette(
    features: NDArray[np.float32], labels: NDArray[np.int64], *, max_products: float = _MOST_PRODUCTS, seed: int = 0
) -> float | None:
    """Compute scikit-learn's silhouette score: how much nearer clustered images are to their cluster than to the next.

    The distance is cosine; images without a cluster are left out. The mean distance to a cluster is one product with
    its mean, so no array is larger than a block of images times the clusters. It misleads on images that were trained
    on, whose clusters are tight whether right or wrong; use images that were held back. It rates clusters, not objects:
    two identities in one tight cluster score well.

    Args:
        features: ``[N, D]`` unit rows.
        labels: ``[N]`` int, the cluster of each image, -1 none.
        max_products: Largest number of multiplications; for more, images are sampled.
        seed: Seed of the random sample.

    Returns:
        A value in [-1, 1]; None with fewer than two clusters.

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
    """Compute the silhouette of each clustered image, with cosine distance.

    With a single cluster, an unrelated direction takes the place of the next cluster.

    Args:
        features: ``[N, D]`` unit rows.
        members: ``[M]`` int, the rows that are in a cluster, each once.
        own: ``[M]`` int, the cluster of each member, from 0.
        chosen: ``[S]`` int, the members to compute; None: all.
        block_bytes: Largest memory of a block of distances, in bytes.

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
    # The image's distance to itself is zero only up to rounding: leave it out.
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
