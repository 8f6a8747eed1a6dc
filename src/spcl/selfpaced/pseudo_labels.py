"""Pseudo labels from features, at the start of each epoch.

Paper: Algorithm 1, lines 4 to 6. Neighbours, Jaccard distance, clusters at three scales and reliability each have a
separate file; this one calls them in order.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spcl.arrays import Features, unit_rows, whole_tensor
from spcl.pairs.constraints import PairConstraints
from spcl.retrieval.jaccard import jaccard_distance
from spcl.selfpaced.clustering import NOISE, Scales, cluster_at_three_scales
from spcl.selfpaced.reliability import (
    cluster_agreement,
    reliable_labels,
    singletons_for_noise,
)
from spcl.selfpaced.reliability import (
    independence_threshold as first_threshold,
)
from spcl.settings_checks import check_count, check_range, check_scales
from spcl.short_repr import with_short_repr


@with_short_repr
@dataclass(frozen=True)
class PseudoLabels:
    """The pseudo labels of one epoch.

    Attributes:
        labels: ``[N]`` int64, contiguous from 0; every un-clustered sample is a separate class.
        scales: DBSCAN labels ``tight``, ``normal``, ``loose``, each ``[N]`` int64, -1 noise.
        independence: ``[N]`` float64 in (0, 1], IoU of the normal and the loose cluster: high is good.
        compactness: ``[N]`` float64 in (0, 1], IoU of the normal and the tight cluster: high is good.
        independence_threshold: Threshold to pass to the next epoch; None while no epoch had a cluster.
        num_clusters: Number of classes in ``labels`` with more than one sample.
        num_unclustered: Number of samples that are a class of one.
    """

    labels: NDArray[np.int64]
    scales: Scales
    independence: NDArray[np.float64]
    compactness: NDArray[np.float64]
    independence_threshold: float | None
    num_clusters: int
    num_unclustered: int

    @classmethod
    def from_labels(cls, labels: ArrayLike) -> PseudoLabels:
        """Make pseudo labels from any clustering; every cluster is kept whole.

        Args:
            labels: ``[N]`` int, the cluster of each sample; -1: in no cluster, which gives a class of one.

        Raises:
            ValueError: If ``labels`` is not one-dimensional, or holds other values than integers from -1 on.

        Examples:
            >>> found = PseudoLabels.from_labels([7, 7, -1, 3])
            >>> found.labels.tolist(), found.num_clusters, found.num_unclustered
            ([1, 1, 2, 0], 1, 2)
        """
        given = whole_tensor(labels, "labels").cpu().numpy()
        if given.ndim != 1 or (len(given) and given.min() < NOISE):
            raise ValueError(
                f"labels are {given.dtype} of shape {given.shape}; expected [N] integers, -1 for no cluster"
            )
        clusters = given.copy()
        classes = np.unique(singletons_for_noise(clusters), return_inverse=True)[1].reshape(-1).astype(np.int64)
        sizes = np.bincount(classes) if len(classes) else np.empty(0, dtype=np.int64)
        certain = np.ones(len(classes), dtype=np.float64)
        return cls(
            labels=classes,
            scales=Scales(clusters, clusters, clusters),
            independence=certain,
            compactness=certain,
            independence_threshold=None,
            num_clusters=int((sizes > 1).sum()),
            num_unclustered=int((sizes == 1).sum()),
        )

    @property
    def cluster_sizes(self) -> NDArray[np.int64]:
        """Give the sizes of the clusters of more than one sample, ascending."""
        sizes = np.bincount(self.labels) if len(self.labels) else np.empty(0, dtype=np.int64)
        return np.sort(sizes[sizes > 1])


def pseudo_labels(
    features: Features,
    *,
    k1: int = 30,
    k2: int = 6,
    eps: float = 0.6,
    eps_gap: float = 0.02,
    min_samples: int = 4,
    neighbours: NDArray[np.integer] | None = None,
    independence_threshold: float | None = None,
    must_link: ArrayLike | None = None,
    cannot_link: ArrayLike | None = None,
) -> PseudoLabels:
    """Cluster features and keep the reliable clusters and members.

    Args:
        features: ``[N, D]`` rows, NumPy or torch; normalised here where they are not of unit length.
        k1: Neighbours in the k-reciprocal encoding, the sample itself included, at least 1; where there are fewer
            samples, all of them.
        k2: Neighbours in the local query expansion, at least 1; 1: no expansion.
        eps: DBSCAN's largest distance of two neighbours, at the normal scale, inclusive.
        eps_gap: Difference of eps to the tight and the loose scale, at least 0; all scales lie from 0 to below 1.
        min_samples: Neighbours, the sample itself included, that make a core sample; at least 1.
        neighbours: ``[N, k1]`` int, nearest first, the row itself among them; None: computed exactly.
        independence_threshold: The threshold of an earlier epoch; None: set from these clusters.
        must_link: ``[M, 2]`` int, rows that show one object, transitively: they get one class; None: none are known.
        cannot_link: ``[M, 2]`` int, rows that show two objects: they get two classes; None: none are known.

    Returns:
        PseudoLabels. If there is no cluster, every sample is a class of one.

    Raises:
        ValueError: If a setting is out of range, shapes do not fit, rows are zero, NaN or infinite, or known pairs
            contradict each other.

    Warns:
        UserWarning: If rows are far from unit length.

    Examples:
        >>> group = np.repeat(np.eye(3, 8, dtype=np.float32), 5, axis=0)
        >>> found = pseudo_labels(group, k1=5, k2=2)
        >>> found.num_clusters, found.num_unclustered, found.labels.tolist()
        (3, 0, [0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2])

    Cost: the neighbour search, ``N^2 D``; everything after it O(N k).
    Paper: Algorithm 1, section 3.3. Reference: ``examples/spcl_train_uda.py``, the epoch loop.
    """
    k1, k2, min_samples = check_count(k1, "k1"), check_count(k2, "k2"), check_count(min_samples, "min_samples")
    eps, eps_gap = check_scales(eps, eps_gap)
    if independence_threshold is not None:
        check_range(independence_threshold, "independence_threshold", 0, 1)
    rows = unit_rows(features)
    constraints = PairConstraints.of(len(rows), must_link, cannot_link)
    if len(rows) == 0:
        nothing = np.empty(0, dtype=np.int64)
        empty = np.empty(0, dtype=np.float64)
        return PseudoLabels(nothing, Scales(nothing, nothing, nothing), empty, empty, independence_threshold, 0, 0)
    nodes = None if constraints is None else constraints.nodes
    distance = jaccard_distance(rows, k1=k1, k2=k2, cutoff=eps + eps_gap, neighbours=neighbours, nodes=nodes)
    scales = cluster_at_three_scales(
        distance, eps=eps, eps_gap=eps_gap, min_samples=min_samples, constraints=constraints
    )
    return labels_of_scales(scales, independence_threshold, nodes)


def labels_of_scales(scales: Scales, threshold: float | None, nodes: NDArray[np.int64] | None = None) -> PseudoLabels:
    """Keep the reliable clusters and members of given clusters.

    Args:
        scales: Cluster labels at the three scales.
        threshold: The threshold of an earlier epoch; None: set from these clusters.
        nodes: ``[N]`` int64, the object of each sample where some are known to be one; None: nothing is known.
    """
    independence = cluster_agreement(scales.normal, scales.loose)
    compactness = cluster_agreement(scales.normal, scales.tight)
    if threshold is None:
        threshold = first_threshold(scales.normal, independence)
    labels = reliable_labels(scales, independence, compactness, threshold, nodes)
    sizes = np.bincount(labels)
    return PseudoLabels(
        labels=labels,
        scales=scales,
        independence=independence,
        compactness=compactness,
        independence_threshold=threshold,
        num_clusters=int((sizes > 1).sum()),
        num_unclustered=int((sizes == 1).sum()),
    )
