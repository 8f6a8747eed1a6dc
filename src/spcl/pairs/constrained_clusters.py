"""Clusters of a graph under known pairs: must-links are one node, and no cluster holds a cannot-link.

A node has the neighbours of all its samples (``retrieval/object_encoding.py``), and counts by the number of its
samples. A cluster that holds a cannot-link is split where its graph is weakest: its links are joined from the nearest
to the farthest (Kruskal's algorithm), except those that would join two sides of a cannot-link. Of equal distances the
pair of lower rows comes first, so that the result depends on nothing else.

No array is larger than the stored pairs and the cannot-links.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.sparse import csr_array

from spcl.pairs.constraints import PairConstraints

NOISE = -1


def without_cannot_links(
    labels: NDArray[np.int64],
    distance: csr_array,
    constraints: PairConstraints,
    *,
    core: NDArray[np.bool_],
    eps: float,
) -> NDArray[np.int64]:
    """Split the clusters of nodes that hold a cannot-link, and number all clusters by their first node.

    Args:
        labels: ``[P]`` clusters of the nodes, -1 noise.
        distance: ``[P, P]`` csr array, the distances of the nodes.
        constraints: The constraints.
        core: ``[P]``, whether each node is a core sample; a link has a core sample at one end at least.
        eps: The largest distance of a link, inclusive, compared in the distance's own precision.

    Returns:
        ``[P]`` int64 clusters from 0, -1 noise. A part of one sample is noise; a node of several samples is a cluster
        by itself if it is in no other.
    """
    first, second = constraints.cannot_link[:, 0], constraints.cannot_link[:, 1]
    inside = (labels[first] == labels[second]) & (labels[first] != NOISE)
    clusters = np.array(labels, dtype=np.int64)
    num = int(labels.max(initial=NOISE)) + 1
    if inside.any():
        held = np.zeros(num + 1, dtype=np.bool_)
        held[labels[first[inside]]] = True
        # Noise has the label -1, which is the last place, and is never held.
        parts = _joined(*_links(labels, held, distance, core, eps), constraints.cannot_link, len(labels))
        split = held[labels]
        clusters[split] = num + parts[split]
        num += len(labels)
    alone = np.bincount(clusters + 1, weights=constraints.sizes, minlength=num + 1)[clusters + 1] < 2
    clusters[alone] = NOISE
    single = (clusters == NOISE) & (constraints.sizes > 1)
    clusters[single] = num + np.flatnonzero(single)
    return _numbered_by_first(clusters)


def _links(
    labels: NDArray[np.int64], held: NDArray[np.bool_], distance: csr_array, core: NDArray[np.bool_], eps: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The links inside some clusters, the nearest first: two arrays of nodes."""
    rows = np.repeat(np.arange(len(labels)), np.diff(distance.indptr))
    columns = distance.indices.astype(np.int64)
    is_link = (rows < columns) & (distance.data <= distance.data.dtype.type(eps)) & (core[rows] | core[columns])
    is_link &= (labels[rows] == labels[columns]) & held[labels[rows]]
    rows, columns, values = rows[is_link], columns[is_link], distance.data[is_link]
    order = np.lexsort((columns, rows, values))
    return rows[order], columns[order]


@njit(cache=True)
def _joined(first, second, cannot_link, num):  # type: ignore[no-untyped-def]
    """Join links in their order, except those that join two sides of a cannot-link; give the part of each node.

    The cannot-links of a part are a chained list: joining two parts joins their lists. Whether two parts are apart is
    looked up in the shorter list.
    """
    parent = np.arange(num)
    head = np.full(num, -1, dtype=np.int64)
    tail = np.full(num, -1, dtype=np.int64)
    length = np.zeros(num, dtype=np.int64)
    other_end = np.empty(2 * len(cannot_link), dtype=np.int64)
    following = np.full(2 * len(cannot_link), -1, dtype=np.int64)
    for at in range(len(cannot_link)):
        for side in range(2):
            entry = 2 * at + side
            node = cannot_link[at, side]
            other_end[entry] = cannot_link[at, 1 - side]
            if head[node] == -1:
                head[node] = entry
            else:
                following[tail[node]] = entry
            tail[node] = entry
            length[node] += 1
    for at in range(len(first)):
        one, other = _root(parent, first[at]), _root(parent, second[at])
        if one == other:
            continue
        shorter, longer = (one, other) if length[one] <= length[other] else (other, one)
        entry = head[shorter]
        is_apart = False
        while entry != -1 and not is_apart:
            is_apart = _root(parent, other_end[entry]) == longer
            entry = following[entry]
        if is_apart:
            continue
        kept, gone = min(one, other), max(one, other)
        parent[gone] = kept
        if head[kept] == -1:
            head[kept], tail[kept] = head[gone], tail[gone]
        elif head[gone] != -1:
            following[tail[kept]] = head[gone]
            tail[kept] = tail[gone]
        length[kept] += length[gone]
    for node in range(num):
        parent[node] = _root(parent, node)
    return parent


@njit(cache=True)
def _root(parent, node):  # type: ignore[no-untyped-def]
    while parent[node] != node:
        parent[node] = parent[parent[node]]
        node = parent[node]
    return node


def _numbered_by_first(clusters: NDArray[np.int64]) -> NDArray[np.int64]:
    """Number clusters from 0 by their first node; -1 stays."""
    names, firsts, numbers = np.unique(clusters, return_index=True, return_inverse=True)
    is_cluster = names != NOISE
    new = np.full(len(names), NOISE, dtype=np.int64)
    new[np.flatnonzero(is_cluster)[np.argsort(firsts[is_cluster])]] = np.arange(int(is_cluster.sum()))
    return new[numbers.reshape(-1)]
