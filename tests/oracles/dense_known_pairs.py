"""Clusters and labels under known pairs with N x N arrays and loops, as ``docs/tracks.md`` describes them."""

from __future__ import annotations

import numpy as np
from sklearn.cluster import DBSCAN

from tests.oracles.dense_labels import DenseLabels, dense_encoding


def objects_of(num: int, must_link) -> np.ndarray:
    """The object of each sample, by its first sample: links are followed until nothing changes."""
    objects = np.arange(num)
    changed = True
    while changed:
        changed = False
        for one, other in must_link:
            lower = min(objects[one], objects[other])
            changed |= bool(objects[one] != lower or objects[other] != lower)
            objects[[one, other]] = lower
    return np.unique(objects, return_inverse=True)[1]


def dense_node_distance(features, neighbours, nodes, k1, k2) -> np.ndarray:
    """Jaccard distances of the encodings of nodes, each the mean of those of its samples."""
    encoding = dense_encoding(features, neighbours, k1, k2)
    mean = np.stack([encoding[nodes == node].mean(axis=0) for node in range(nodes.max() + 1)])
    common = np.minimum(mean[:, None], mean).sum(axis=2)
    return np.maximum(0, 1 - common / (2 - common)).astype(np.float32)


def dense_clusters(distance: np.ndarray, nodes: np.ndarray, cannot_link, *, eps: float, min_samples: int) -> np.ndarray:
    """DBSCAN on the distances of nodes, then each cluster with a cannot-link joined anew from its nearest links on."""
    of_nodes, num, sizes = distance, len(distance), np.bincount(nodes)
    limit = distance.dtype.type(eps)
    found = DBSCAN(eps=limit, min_samples=min_samples, metric="precomputed").fit(of_nodes, sample_weight=sizes)
    core = np.zeros(num, dtype=bool)
    core[found.core_sample_indices_] = True
    apart = {frozenset((nodes[one], nodes[other])) for one, other in cannot_link}
    clusters = []
    for label in range(found.labels_.max() + 1):
        members = np.flatnonzero(found.labels_ == label).tolist()
        if not any(pair <= set(members) for pair in apart):
            clusters.append(set(members))
            continue
        parts = [{member} for member in members]
        links = sorted(
            (of_nodes[one, other], one, other)
            for one in members
            for other in members
            if one < other and of_nodes[one, other] <= limit and (core[one] or core[other])
        )
        for _, one, other in links:
            first = next(part for part in parts if one in part)
            second = next(part for part in parts if other in part)
            if first is not second and not any(frozenset((a, b)) in apart for a in first for b in second):
                parts.remove(second)
                first |= second
        clusters += parts
    clusters += [{node} for node in np.flatnonzero(found.labels_ == -1).tolist()]
    clusters = [cluster for cluster in clusters if sizes[list(cluster)].sum() > 1]
    labels = np.full(num, -1)
    for number, cluster in enumerate(sorted(clusters, key=min)):
        labels[list(cluster)] = number
    return labels[nodes]


def dense_labels_with_pairs(
    features, neighbours, must_link, cannot_link, *, k1, k2, eps, eps_gap, min_samples, threshold=None
) -> DenseLabels:
    """Clusters at three scales and the selection; samples of one object stay together when they are rejected."""
    nodes = objects_of(len(features), must_link)
    distance = dense_node_distance(features, neighbours, nodes, k1, k2)
    scales = tuple(
        dense_clusters(distance, nodes, cannot_link, eps=scale, min_samples=min_samples)
        for scale in (eps - eps_gap, eps, eps + eps_gap)
    )
    tight, normal, loose = (np.where(labels < 0, 10**6 + np.arange(len(labels)), labels) for labels in scales)
    same_tight, same, same_loose = (labels[:, None] == labels for labels in (tight, normal, loose))
    compactness = (same & same_tight).sum(1) / (same | same_tight).sum(1)
    independence = (same & same_loose).sum(1) / (same | same_loose).sum(1)
    best = {label: max(independence[normal == label]) for label in set(normal.tolist())}
    if threshold is None:
        several = sorted((best[label] for label in best if (normal == label).sum() > 1), reverse=True)
        threshold = several[min(len(several) - 1, int(np.around(0.9 * len(several))))] if several else 0.0
    kept = [
        best[label] >= threshold - 1e-9 and compactness[row] >= max(compactness[normal == label]) - 1e-9
        for row, label in enumerate(normal.tolist())
    ]
    classes = [
        ("cluster", label) if keep else ("object", nodes[row])
        for row, (label, keep) in enumerate(zip(normal, kept, strict=True))
    ]
    order = sorted(set(classes), key=lambda one: (one[0] == "object", one[1]))
    return DenseLabels(scales, np.array([order.index(one) for one in classes]))
