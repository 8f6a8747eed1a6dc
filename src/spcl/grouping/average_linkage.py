"""Clusters by average linkage on sparse distances: a step of labels by average linkage, not of the paper.

The two clusters with the least average distance of their pairs are merged first::

    d(A, B) = mean over a in A, b in B of d(a, b),        merged while d(A, B) <= threshold

Against DBSCAN, which joins clusters through one chain of near pairs, a few wrong pairs do not join two objects. A pair
that is not stored is at distance 1, so that sums of ``1 - d`` over stored pairs are enough. Average linkage is
reducible: pairs of clusters that are each other's nearest can be merged all at once, and the result is that of merging
one pair at a time (ties aside).

Known pairs: samples of one object start merged, and two clusters that hold a cannot-link are never merged, as if their
distance were infinite; average linkage stays reducible with infinite distances.

Reference: Sokal and Michener, 1958 (UPGMA); Bruynooghe, 1978 (reducibility, reciprocal neighbours); Zeng et al., CVPR
2020 (HCT: hierarchical clusters as pseudo labels in re-identification).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import connected_components

from spcl.pairs.constraints import PairConstraints
from spcl.selfpaced.clustering import NOISE
from spcl.settings_checks import check_range


class Merges(NamedTuple):
    """The merges of average linkage up to a largest distance.

    Attributes:
        first: ``[M]`` int64, a sample of the one cluster.
        second: ``[M]`` int64, a sample of the other cluster.
        distance: ``[M]`` float64, the average distance of the two.
        num: N, the number of samples.
    """

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    distance: NDArray[np.float64]
    num: int


def average_linkage(distance: csr_array, *, most: float = 0.98, constraints: PairConstraints | None = None) -> Merges:
    """Merge clusters by their average distance.

    Args:
        distance: ``[N, N]`` csr array, symmetric; a pair that is not stored is at distance 1.
        most: The largest average distance of two clusters that are merged, below 1.
        constraints: Known pairs of the samples; None: none.

    Returns:
        Merges, from which ``cut`` gives the clusters at any threshold up to ``most``. Samples of one object are merged
        at distance 0.

    Cost: O(stored pairs) for each round; rounds grow about with the logarithm of N.
    """
    check_range(most, "most", 0, 1, below=True)
    num = distance.shape[0]
    sums = csr_array(
        (1.0 - distance.data.astype(np.float64), distance.indices.copy(), distance.indptr.copy()), distance.shape
    )
    sizes, anyone = np.ones(num, dtype=np.int64), np.arange(num)
    merged: list[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]] = []
    apart = np.empty((0, 2), dtype=np.int64)
    if constraints is not None:
        merged.append(_merged_objects(constraints.nodes))
        sums = _added(sums, constraints.nodes)
        sizes, apart = constraints.sizes, constraints.cannot_link
        anyone = np.unique(constraints.nodes, return_index=True)[1]
    while True:
        first, second, similarity = _reciprocal_pairs(sums, sizes, apart, least=1.0 - most)
        if not len(first):
            break
        merged.append((anyone[first], anyone[second], 1.0 - similarity))
        parent = np.arange(len(sizes))
        parent[second] = first
        kept, numbers = np.unique(parent, return_inverse=True)
        numbers = numbers.reshape(-1)
        sizes = np.bincount(numbers, weights=sizes).astype(np.int64)
        anyone = anyone[kept]
        apart = numbers[apart]
        sums = _added(sums, numbers)
    if not merged:
        nothing = np.empty(0, dtype=np.int64)
        return Merges(nothing, nothing, np.empty(0), num)
    firsts, seconds, distances = (np.concatenate(parts) for parts in zip(*merged, strict=True))
    return Merges(firsts, seconds, distances, num)


def cut(merges: Merges, threshold: float) -> NDArray[np.int64]:
    """Give ``[N]`` int64 clusters of the merges up to a distance, numbered by their first sample; -1: alone.

    Examples:
        >>> merges = Merges(np.array([1, 0]), np.array([2, 1]), np.array([0.2, 0.6]), 4)
        >>> cut(merges, 0.3).tolist(), cut(merges, 0.7).tolist()
        ([-1, 0, 0, -1], [0, 0, 0, -1])
    """
    taken = merges.distance <= threshold
    pairs = (np.ones(int(taken.sum())), (merges.first[taken], merges.second[taken]))
    _, members = connected_components(coo_array(pairs, (merges.num,) * 2), directed=False)
    alone = np.bincount(members, minlength=1)[members] < 2 if merges.num else np.empty(0, dtype=np.bool_)
    _, firsts, numbers = np.unique(members[~alone], return_index=True, return_inverse=True)
    order = np.argsort(np.argsort(firsts))
    labels = np.full(merges.num, NOISE, dtype=np.int64)
    labels[~alone] = order[numbers.reshape(-1)]
    return labels


def _merged_objects(
    nodes: NDArray[np.int64],
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """The merges of the samples of each object with its first one, at distance 0."""
    firsts = np.unique(nodes, return_index=True)[1][nodes]
    others = np.flatnonzero(firsts != np.arange(len(nodes)))
    return firsts[others], others, np.zeros(len(others))


def _added(sums: csr_array, numbers: NDArray[np.int64]) -> csr_array:
    """Add the rows and columns of merged clusters, whose new numbers are given."""
    entries = sums.tocoo()
    size = int(numbers.max(initial=-1)) + 1
    return coo_array((entries.data, (numbers[entries.row], numbers[entries.col])), (size, size)).tocsr()


def _reciprocal_pairs(
    sums: csr_array, sizes: NDArray[np.int64], apart: NDArray[np.int64], *, least: float
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Pairs of clusters that are each other's nearest, the lower number first, with their average similarity.

    Pairs in ``apart`` are not merged, and are no clusters' nearest.
    """
    rows = np.repeat(np.arange(len(sizes)), np.diff(sums.indptr))
    columns = sums.indices.astype(np.int64)
    average = sums.data / (sizes[rows] * sizes[columns])
    # Rounded, so that a pair has one value in both directions, whatever the order of its sums.
    average = np.round(average, 9)
    near = (rows != columns) & (average >= least) & (average > 0)
    if len(apart):
        wrong = np.concatenate([apart, apart[:, ::-1]])
        near &= ~np.isin(rows * len(sizes) + columns, wrong[:, 0] * len(sizes) + wrong[:, 1])
    rows, columns, average = rows[near], columns[near], average[near]
    # Of equal values the lowest column: an order of pairs that both directions share.
    order = np.lexsort((columns, -average, rows))
    at, firsts = np.unique(rows[order], return_index=True)
    best = np.full(len(sizes), -1, dtype=np.int64)
    value = np.zeros(len(sizes))
    best[at], value[at] = columns[order][firsts], average[order][firsts]
    lower = np.flatnonzero((best > np.arange(len(sizes))) & (best >= 0))
    lower = lower[best[best[lower]] == lower]
    if not len(lower) and len(at):
        # Rounding hid the reciprocal pair: the nearest of all is merged.
        one = int(np.argmax(value))
        low, high = sorted((one, int(best[one])))
        return np.array([low]), np.array([high]), value[[one]]
    return lower, best[lower], value[lower]
