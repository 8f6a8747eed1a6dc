"""Clusters over a range of eps at one k1: a step of suggesting settings (``eps_choice.py``).

A setting is rated by its clusters' *coherence*: the share of links from an image to its nearest neighbours that stay
inside a cluster, less ``2 s / (1 + s)``, where s is the share of all pairs of images that share a cluster. The first
falls where objects are torn apart or left out, the second rises where objects are merged; one cluster of all images is
as bad as none. (For small s it is a modularity, Newman and Girvan 2004, of the graph of nearest neighbours, with the
resolution of Reichardt and Bornholdt 2006. Folders of few objects have a large s, where it rises more slowly.)
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from spcl.arrays import Features
from spcl.pairs.constraints import PairConstraints
from spcl.retrieval.jaccard import jaccard_distance
from spcl.selfpaced.clustering import NOISE, clusters_at
from spcl.selfpaced.reliability import cluster_agreement, singletons_for_noise

PAPER_EPS = 0.6

_PAIRS_WEIGHT = 2.0
"""Weight of the share of pairs in one cluster against the share of links: 1 merges more, 3 splits more."""

_MOST_K1_OF_IMAGES = 1.25
"""Largest ratio of k1 to the images of an object: neighbours beyond these are of other objects."""

_ALIKE = 1e-9


@dataclass(frozen=True)
class EpsCurve:
    """Figures of the clusters at each eps for one k1. Arrays are ``[E]``, by ascending eps.

    Attributes:
        k1: Neighbours in the k-reciprocal encoding.
        k2: Neighbours in the local query expansion.
        eps: The values of eps that were tried.
        num_clusters: Number of clusters at each eps.
        share_clustered: Share of the images that are in a cluster.
        largest_share: Share of the images in the largest cluster.
        stability: Mean over the clustered images of the IoU of their clusters at this and the next smaller and larger
            eps; 0 without clusters.
        coherence: Coherence as defined in the module docstring, averaged over each eps and its two neighbours, because
            training uses three scales.
        best: Index of the highest coherence; of equal values, the one nearest to the paper's eps.
        images_per_cluster: Size of the cluster of the median clustered image at ``best``; 0 without clusters.
    """

    k1: int
    k2: int
    eps: NDArray[np.float64]
    num_clusters: NDArray[np.int64]
    share_clustered: NDArray[np.float64]
    largest_share: NDArray[np.float64]
    stability: NDArray[np.float64]
    coherence: NDArray[np.float64]
    best: int
    images_per_cluster: float

    @property
    def k1_is_too_large(self) -> bool:
        """Whether k1 exceeds the number of images of an object, estimated from the clusters."""
        return 0 < _MOST_K1_OF_IMAGES * self.images_per_cluster < self.k1


def eps_curve(
    rows: Features,
    neighbours: NDArray[np.integer],
    *,
    k1: int,
    k2: int,
    eps: NDArray[np.float64],
    min_samples: int,
    constraints: PairConstraints | None = None,
) -> EpsCurve:
    """Cluster at each eps on one Jaccard distance, and rate the clusters.

    Args:
        rows: ``[N, D]`` unit rows.
        neighbours: ``[N, k]`` int, nearest first, the row itself among them; at least k1 and ``min_samples`` columns
            where there are so many rows.
        k1: Neighbours in the k-reciprocal encoding.
        k2: Neighbours in the local query expansion.
        eps: ``[E]`` values to try, ascending, from 0 to below 1.
        min_samples: Neighbours that make a core sample of DBSCAN; coherence counts the links to this number of nearest
            neighbours, the image itself included.
        constraints: Known pairs of the rows, which the clusters respect; None: none.

    Cost: one label stage, and ``E`` times DBSCAN.
    """
    nodes = None if constraints is None else constraints.nodes
    cutoff = float(eps.max())
    distance = jaccard_distance(rows, k1=k1, k2=k2, cutoff=cutoff, neighbours=neighbours[:, :k1], nodes=nodes)
    labels = np.stack(clusters_at(distance, map(float, eps), min_samples=min_samples, constraints=constraints))
    num = labels.shape[1]
    sizes = [np.bincount(row[row != NOISE]) for row in labels]
    raw = np.array([coherence(row, neighbours[:, :min_samples]) for row in labels])
    beside = np.pad(raw, 1, mode="edge")
    smooth = (beside[:-2] + beside[1:-1] + beside[2:]) / 3
    # Clearly separated groups give a plateau of equal values; of these the one nearest to the paper's eps is taken.
    equals = np.flatnonzero(smooth >= smooth.max() - _ALIKE)
    best = int(equals[np.argmin(np.abs(eps[equals] - PAPER_EPS))])
    clustered = labels[best][labels[best] != NOISE]
    return EpsCurve(
        k1=k1,
        k2=k2,
        eps=eps,
        num_clusters=np.array([len(each) for each in sizes], dtype=np.int64),
        share_clustered=np.array([each.sum() / num for each in sizes]),
        largest_share=np.array([each.max(initial=0) / num for each in sizes]),
        stability=_stability(labels),
        coherence=smooth,
        best=best,
        images_per_cluster=float(np.median(sizes[best][clustered])) if len(clustered) else 0.0,
    )


def coherence(
    labels: NDArray[np.int64], neighbours: NDArray[np.integer], *, pairs_weight: float = _PAIRS_WEIGHT
) -> float:
    """Share of links to nearest neighbours inside a cluster, minus an increasing function of the share of pairs.

    Args:
        labels: ``[N]`` int, -1 noise; a noise image is a cluster of itself alone.
        neighbours: ``[N, k]`` int; the row itself and -1 are no links.
        pairs_weight: Weight of the share of pairs that are in one cluster; a larger one prefers more clusters.

    Returns:
        A value of at most 1, about 0 without clusters. With the default weight 0 if all images are one cluster.

    Examples:
        >>> pairs = np.array([[1], [0], [3], [2]])
        >>> round(coherence(np.array([0, 0, 1, 1]), pairs), 3), coherence(np.array([0, 0, 0, 0]), pairs)
        (0.333, 0.0)
    """
    classes = singletons_for_noise(labels)
    if not len(classes):
        return 0.0
    is_link = (neighbours >= 0) & (neighbours != np.arange(len(classes))[:, None])
    inside = (classes[neighbours] == classes[:, None]) & is_link
    pairs = float(((np.bincount(classes) / len(classes)) ** 2).sum())
    return float(inside.sum() / max(1, is_link.sum()) - pairs_weight * pairs / (1 + pairs))


def _stability(labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Give ``[E]`` mean agreement (IoU) of the clustered images with the next scales, 0 without clusters."""
    clustered = labels != NOISE
    if len(labels) == 1:
        return np.asarray(clustered.any(axis=1), dtype=np.float64)
    up = np.stack([cluster_agreement(row, larger) for row, larger in pairwise(labels)])
    both = np.concatenate([up[:1], (up[:-1] + up[1:]) / 2, up[-1:]])
    return np.asarray((both * clustered).sum(axis=1) / np.maximum(1, clustered.sum(axis=1)), dtype=np.float64)
