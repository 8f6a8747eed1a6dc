"""DBSCAN on pairs that are read again and again, never held at once.

Paper: section 3.3. Core samples are counted in one pass over the pairs, joined by union-find in a second, and border
samples are given to clusters in a third. The order of the pairs does not matter. Labels equal those of
``selfpaced/clustering.py`` on the same distances: clusters are numbered by their first core sample, and a border sample
belongs to the first cluster that reaches it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray


class Pairs(NamedTuple):
    """Some of the pairs of samples that are near each other; each pair is listed once in all.

    Attributes:
        rows: ``[n]`` int32, the one sample.
        others: ``[n]`` int32, the other sample, or the same: a sample is its own neighbour only where this is listed.
        distances: ``[n]`` float32.
    """

    rows: NDArray[np.int32]
    others: NDArray[np.int32]
    distances: NDArray[np.float32]


def dbscan_of_pairs(
    read: Callable[[], Iterable[Pairs]], num_rows: int, *, eps: float, min_samples: int
) -> NDArray[np.int64]:
    """Cluster by DBSCAN on pairs.

    Args:
        read: Gives all pairs at ``eps`` or nearer, in parts; called three times.
        num_rows: N, the number of samples.
        eps: The largest distance of two neighbours, inclusive, compared in float32.
        min_samples: Neighbours, the sample itself included, that make a core sample.

    Returns:
        ``[N]`` int64: clusters numbered by their first core sample, -1 noise.

    Cost: three passes over the pairs; memory 17 N bytes and one part.
    """
    limit = np.float32(eps)
    counts = np.zeros(num_rows, dtype=np.int32)
    for pairs in read():
        _count(*pairs, limit, counts)
    is_core = counts >= min_samples
    del counts
    parents = np.arange(num_rows, dtype=np.int32)
    for pairs in read():
        _join(*pairs, limit, is_core, parents)
    labels = np.empty(num_rows, dtype=np.int64)
    _number(parents, is_core, labels)
    del parents
    for pairs in read():
        _reach(*pairs, limit, is_core, labels)
    labels[labels == num_rows] = -1
    return labels


@njit(cache=True)
def _count(rows, others, distances, limit, counts):  # type: ignore[no-untyped-def]
    for at in range(len(rows)):
        if distances[at] <= limit:
            counts[rows[at]] += 1
            if others[at] != rows[at]:
                counts[others[at]] += 1


@njit(cache=True)
def _join(rows, others, distances, limit, is_core, parents):  # type: ignore[no-untyped-def]
    """Join the trees of core samples that are neighbours; the root of a tree is its first sample."""
    for at in range(len(rows)):
        if distances[at] <= limit and is_core[rows[at]] and is_core[others[at]]:
            one, other = _root(parents, rows[at]), _root(parents, others[at])
            if one < other:
                parents[other] = one
            elif other < one:
                parents[one] = other


@njit(cache=True, inline="always")
def _root(parents, row):  # type: ignore[no-untyped-def]
    while parents[row] != row:
        # Each sample on the way is hung one step higher, which keeps the ways short.
        parents[row] = parents[parents[row]]
        row = parents[row]
    return row


@njit(cache=True)
def _number(parents, is_core, labels):  # type: ignore[no-untyped-def]
    """Number the trees by their roots; N, above all numbers, is for samples that no cluster has reached."""
    number = 0
    for row in range(len(parents)):
        if not is_core[row]:
            labels[row] = len(parents)
        elif parents[row] == row:
            labels[row] = number
            number += 1
        else:
            # The root comes first, and has its number.
            labels[row] = labels[_root(parents, row)]


@njit(cache=True)
def _reach(rows, others, distances, limit, is_core, labels):  # type: ignore[no-untyped-def]
    for at in range(len(rows)):
        if distances[at] <= limit:
            row, other = rows[at], others[at]
            if is_core[row] and not is_core[other]:
                labels[other] = min(labels[other], labels[row])
            elif is_core[other] and not is_core[row]:
                labels[row] = min(labels[row], labels[other])
