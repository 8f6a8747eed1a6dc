"""The rating by which labels by average linkage choose their settings, without labels of the images.

    rating = share of links to nearest neighbours inside a cluster - 6 s / (1 + s) + 4 a^3

with s the share of all pairs of images that share a cluster (``eps_curve.py``), and a the mean silhouette of the
images, an image alone counting as 0. The links look at an image's nearest neighbours only, so that they do not see that
two clusters are halves of one object; the silhouette does, but where objects overlap it prefers clusters of two near
images. Its third power leaves it a say only where the clusters are clear. (A rating of three nearest links alone tore
23 animals with 29 images each into 63 clusters.)

Both weights were chosen on training identities of omniglot, cattle and rendered pedestrians. Silhouette: Rousseeuw,
1987, here with cosine distance of features without their mean.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array

from spcl.arrays import Features
from spcl.grouping.eps_curve import coherence
from spcl.selfpaced.clustering import NOISE

_WEIGHT_OF_PAIRS = 6.0
"""Weight of ``s / (1 + s)``: more prefers smaller clusters."""
_WEIGHT_OF_SILHOUETTE = 4.0
_MOST_IMAGES = 500
"""Images whose silhouette is computed; a mean of so many is within 0.02."""


def cluster_rating(labels: NDArray[np.int64], neighbours: NDArray[np.integer], centred: NDArray[np.float32]) -> float:
    """Rate clusters without identities; the higher the better. The features must be those of the neighbours.

    Args:
        labels: ``[N]`` int64, the cluster of each image, -1: alone.
        neighbours: ``[N, k]`` int, the nearest images that should be in the cluster of an image; the image itself and
            -1 do not count.
        centred: ``[N, D]`` float32, result of ``without_mean``.
    """
    clear = mean_silhouette(labels, centred)
    return coherence(labels, neighbours, pairs_weight=_WEIGHT_OF_PAIRS) + _WEIGHT_OF_SILHOUETTE * clear**3


def without_mean(features: Features) -> NDArray[np.float32]:
    """Give features ``[N, D]`` less their mean, as unit rows in float32; a row equal to the mean stays 0."""
    rows = torch.as_tensor(features).detach().to("cpu", torch.float32, copy=True).numpy()
    if not len(rows):
        return rows
    rows -= rows.mean(axis=0)
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), np.finfo(np.float32).tiny))


def mean_silhouette(labels: NDArray[np.int64], rows: NDArray[np.float32], *, most_images: int = _MOST_IMAGES) -> float:
    """Give the mean silhouette of images by cosine distance; an image alone in its cluster counts as 0.

    Args:
        labels: ``[N]`` int64, the cluster of each image, -1: alone; such an image is no cluster for the others.
        rows: ``[N, D]`` float32 unit rows.
        most_images: Images whose silhouette is computed, evenly over the clustered images.

    Returns:
        A value in [-1, 1]; 0 with fewer than two clusters.

    Cost: ``N D``, and the number of computed images times D times the number of clusters.
    """
    clustered = np.flatnonzero(labels != NOISE)
    names, own = np.unique(labels[clustered], return_inverse=True)
    if len(names) < 2:
        return 0.0
    own = own.reshape(-1)
    sizes = np.bincount(own).astype(np.float32)
    members = csr_array((np.ones(len(own), dtype=np.float32), (own, clustered)), (len(names), len(rows)))
    computed = np.unique(np.linspace(0, len(own) - 1, min(most_images, len(own))).astype(np.int64))
    mine, at = own[computed], np.arange(len(computed))
    similarity = rows[clustered[computed]] @ (members @ rows).T
    others = sizes[mine] - 1
    # The similarity of an image with itself is left out.
    within = (similarity[at, mine] - 1) / np.maximum(1, others)
    similarity /= sizes
    similarity[at, mine] = -np.inf
    nearest = similarity.max(axis=1)
    largest = np.maximum(np.maximum(1 - within, 1 - nearest), np.finfo(np.float32).tiny)
    found = np.where(others > 0, (within - nearest) / largest, 0)
    return float(found.mean()) * len(clustered) / len(labels)
