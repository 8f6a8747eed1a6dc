"""Pseudo labels with N x N arrays and loops over samples.

k-reciprocal encoding and Jaccard distance: Zhong et al., CVPR 2017, equations 1 to 10. Reliability: SpCL, section 3.3.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.cluster import DBSCAN


def reciprocal(neighbours: np.ndarray, row: int, size: int) -> list[int]:
    """Neighbours of a row that have the row among theirs."""
    return [int(other) for other in neighbours[row, :size] if row in neighbours[other, :size]]


def expanded(neighbours: np.ndarray, row: int, k1: int) -> list[int]:
    """R*: a member's half-size set joins when more than two thirds of it are in R."""
    core = reciprocal(neighbours, row, k1 + 1)
    members = set(core)
    for candidate in core:
        half = reciprocal(neighbours, candidate, int(np.around(k1 / 2)) + 1)
        if len(set(half) & set(core)) > 2 / 3 * len(half):
            members |= set(half)
    return sorted(members)


def dense_encoding(features: np.ndarray, neighbours: np.ndarray, k1: int, k2: int) -> np.ndarray:
    """The encodings as an N x N array."""
    num = len(features)
    encoding = np.zeros((num, num), dtype=np.float32)
    for row in range(num):
        members = expanded(neighbours, row, k1)
        if members:
            weights = np.exp(-(2 - 2 * features[members] @ features[row]).astype(np.float64))
            encoding[row, members] = weights / weights.sum()
    if k2 != 1:
        encoding = np.stack([encoding[neighbours[row, :k2]].mean(axis=0) for row in range(num)])
    return encoding


def dense_jaccard(features: np.ndarray, neighbours: np.ndarray, k1: int, k2: int) -> np.ndarray:
    """Jaccard distances as an N x N array."""
    encoding = dense_encoding(features, neighbours, k1, k2)
    distance = np.ones((len(features), len(features)), dtype=np.float32)
    for row in range(len(features)):
        common = np.minimum(encoding[row], encoding).sum(axis=1)
        distance[row] = np.maximum(0, 1 - common / (2 - common))
    return distance


@dataclass
class DenseLabels:
    """What ``spcl.pseudo_labels`` should find."""

    scales: tuple[np.ndarray, np.ndarray, np.ndarray]
    labels: np.ndarray


def dense_pseudo_labels(
    features: np.ndarray,
    neighbours: np.ndarray,
    *,
    k1: int,
    k2: int,
    eps: float,
    eps_gap: float,
    min_samples: int,
    threshold: float | None = None,
) -> DenseLabels:
    """Clusters at three scales and the selection, as the official script goes through them."""
    distance = dense_jaccard(features, neighbours, k1, k2)
    scales = tuple(
        DBSCAN(eps=scale, min_samples=min_samples, metric="precomputed").fit(distance).labels_
        for scale in (eps - eps_gap, eps, eps + eps_gap)
    )
    tight, normal, loose = (own_label_for_noise(labels) for labels in scales)
    same_tight, same, same_loose = (labels[:, None] == labels for labels in (tight, normal, loose))
    compactness = (same & same_tight).sum(1) / (same | same_tight).sum(1)
    independence = (same & same_loose).sum(1) / (same | same_loose).sum(1)
    classes = sorted(set(normal.tolist()))
    best_compactness = {label: max(compactness[normal == label]) for label in classes}
    best_independence = {label: max(independence[normal == label]) for label in classes}
    if threshold is None:
        several = sorted((best_independence[label] for label in classes if (normal == label).sum() > 1), reverse=True)
        threshold = several[min(len(several) - 1, int(np.around(0.9 * len(several))))] if several else 0.0
    labels = normal.copy()
    following = len(classes)
    for row, label in enumerate(normal.tolist()):
        if best_independence[label] < threshold - 1e-9 or compactness[row] < best_compactness[label] - 1e-9:
            labels[row] = following
            following += 1
    return DenseLabels(scales, np.unique(labels, return_inverse=True)[1])


def own_label_for_noise(labels: np.ndarray) -> np.ndarray:
    """Each noise sample becomes a cluster of its own."""
    result, following = [], labels.max() + 1
    for label in labels:
        result.append(label if label != -1 else following)
        following += label == -1
    return np.array(result)
