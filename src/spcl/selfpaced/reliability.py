"""Reliability of clusters and of their members.

Paper: section 3.3, equations 4 and 5. *Independence* of a sample: how much its cluster stays the same at the loose
scale; *compactness*: at the tight scale; both as intersection over union, high is good. A cluster is kept when its
best member's independence reaches a threshold; inside it, the samples whose compactness equals the cluster's best
stay. Every other sample is an un-clustered instance, a class of its own.

IoU comes from counts of label pairs, so nothing is larger than N (the reference builds five N x N arrays).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spcl.selfpaced.clustering import NOISE, Scales

INDEPENDENT_SHARE = 0.9
"""The share of clusters that the first epoch's threshold keeps."""

_ROUNDING = 2e-7
"""IoU values that differ by less are equal: room for a threshold that was stored as ``1 - IoU`` in float32."""


def cluster_agreement(labels: NDArray[np.int64], others: NDArray[np.int64]) -> NDArray[np.float64]:
    """Compute the intersection over union (IoU) of each sample's cluster in one labelling and its cluster in another.

    Args:
        labels: ``[N]`` int, one labelling; -1 noise: the sample is a cluster of one.
        others: ``[N]`` int, the other labelling; -1 noise, treated in the same way.

    Returns:
        ``[N]`` float64 in (0, 1].

    Examples:
        >>> cluster_agreement(np.array([0, 0, -1]), np.array([0, 0, 0])).round(2)
        array([0.67, 0.67, 0.33])
    """
    first, second = singletons_for_noise(labels), singletons_for_noise(others)
    pairs = first * (second.max(initial=0) + 1) + second
    _, pair_of, pair_sizes = np.unique(pairs, return_inverse=True, return_counts=True)
    common = pair_sizes[pair_of.reshape(-1)]
    union = np.bincount(first)[first] + np.bincount(second)[second] - common if len(first) else common
    return np.asarray(common / union, dtype=np.float64)


def singletons_for_noise(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Give ``[N]`` int64 labels: clusters keep their numbers, each noise sample gets a new one above them, in order."""
    classes = np.array(labels, dtype=np.int64)
    noise = classes == NOISE
    classes[noise] = classes.max(initial=-1) + 1 + np.arange(int(noise.sum()))
    return classes


def independence_threshold(labels: NDArray[np.int64], independence: NDArray[np.float64]) -> float | None:
    """Compute the threshold that keeps the 90 % most independent clusters; the first epoch's is used in all epochs.

    Args:
        labels: ``[N]`` labels at the normal scale, -1 noise.
        independence: ``[N]`` independence of each sample.

    Returns:
        The independence of the cluster at place ``round(0.9 n)`` (halves to even, at most the last) of the n clusters
        of more than one image, most independent first; None where there is no such cluster.

    Reference: ``examples/spcl_train_uda.py``, ``indep_thres``, which stores 1 - IoU and sorts upward.
    """
    clustered = labels != NOISE
    if not clustered.any():
        return None
    best = _best_of_class(labels[clustered], independence[clustered])
    sizes = np.bincount(labels[clustered], minlength=len(best))
    scores = np.sort(best[sizes > 1])[::-1]
    if not len(scores):
        return None
    return float(scores[min(len(scores) - 1, round(INDEPENDENT_SHARE * len(scores)))])


def reliable_labels(
    scales: Scales,
    independence: NDArray[np.float64],
    compactness: NDArray[np.float64],
    threshold: float | None,
    nodes: NDArray[np.int64] | None = None,
) -> NDArray[np.int64]:
    """Give the labels after the self-paced selection.

    Args:
        scales: Cluster labels at the three scales.
        independence: ``[N]`` independence of each sample.
        compactness: ``[N]`` compactness of each sample.
        threshold: Least independence of a cluster that is kept; None keeps all.
        nodes: ``[N]`` int64, the object of each sample where some are known to be one: those of one object stay
            together when they are rejected; None: nothing is known.

    Returns:
        ``[N]`` int64, contiguous from 0: kept clusters in the order of their DBSCAN numbers, then the un-clustered.
    """
    classes = singletons_for_noise(scales.normal)
    if not len(classes):
        return classes
    least = -np.inf if threshold is None else threshold - _ROUNDING
    kept = (_best_of_class(classes, independence)[classes] >= least) & (
        compactness >= _best_of_class(classes, compactness)[classes]
    )
    rejected = np.flatnonzero(~kept)
    alone = np.arange(len(rejected)) if nodes is None else nodes[rejected]
    classes[rejected] = classes.max() + 1 + alone
    return np.unique(classes, return_inverse=True)[1].reshape(-1).astype(np.int64)


def _best_of_class(classes: NDArray[np.int64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    best = np.zeros(int(classes.max()) + 1, dtype=np.float64)
    np.maximum.at(best, classes, values)
    return best
