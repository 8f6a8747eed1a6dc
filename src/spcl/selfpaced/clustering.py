"""DBSCAN at three scales on one sparse graph.

Paper: section 3.3, the clusters of each epoch: normal (eps), tight (eps - gap), loose (eps + gap). One stored graph
serves the three. Labels equal those of scikit-learn's DBSCAN on the dense distance, numbering and border points
included. Reliability, which compares the scales, is in ``reliability.py``.

Known pairs of samples are no part of the paper: samples of one object are one node that counts by its size, and a
cluster that holds two objects is split (``pairs/constrained_clusters.py``).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray
from scipy.sparse import csr_array

from spcl.compiled import PARALLEL
from spcl.pairs.constrained_clusters import without_cannot_links
from spcl.pairs.constraints import PairConstraints
from spcl.settings_checks import check_count, check_range

NOISE = -1
"""The label of a sample that belongs to no cluster."""


class Scales(NamedTuple):
    """Cluster labels ``[N]`` int64 at the three scales: numbered as scikit-learn does, -1 noise."""

    tight: NDArray[np.int64]
    normal: NDArray[np.int64]
    loose: NDArray[np.int64]


def cluster_at_three_scales(
    distance: csr_array, *, eps: float, eps_gap: float, min_samples: int, constraints: PairConstraints | None = None
) -> Scales:
    """Cluster by DBSCAN at ``eps - eps_gap``, ``eps`` and ``eps + eps_gap``.

    Args:
        distance: ``[N, N]`` csr array that stores every pair at distance ``eps + eps_gap`` or less; ``[P, P]``, of the
            nodes, with known pairs.
        eps: DBSCAN's largest distance of two neighbours at the normal scale, inclusive.
        eps_gap: Difference of eps to the tight and the loose scale.
        min_samples: Neighbours, the sample itself included, that make a core sample.
        constraints: Known pairs of the samples; None: none.
    """
    tight, normal, loose = clusters_at(
        distance, (eps - eps_gap, eps, eps + eps_gap), min_samples=min_samples, constraints=constraints
    )
    return Scales(tight, normal, loose)


def clusters_at(
    distance: csr_array, eps: Iterable[float], *, min_samples: int, constraints: PairConstraints | None = None
) -> list[NDArray[np.int64]]:
    """Cluster by DBSCAN at several values of eps, with known pairs.

    Args:
        distance: ``[N, N]`` csr array, symmetric, that stores every pair at the largest eps or less; ``[P, P]``, of
            the nodes, with known pairs.
        eps: The largest distances of two neighbours, inclusive.
        min_samples: Neighbours, the sample itself included, that make a core sample.
        constraints: Known pairs of the samples; None: none.

    Returns:
        ``[N]`` int64 for each eps, -1 noise. Without known pairs: as ``dbscan``. With them, clusters are numbered by
        their first sample, samples of one object are in one cluster, and no cluster holds a cannot-link.

    Cost: O(stored pairs) for each eps, and their order where a cluster is split.
    """
    if constraints is None:
        return [dbscan(distance, eps=value, min_samples=min_samples) for value in eps]
    found = []
    for value in eps:
        core = core_samples(distance, eps=value, min_samples=min_samples, weights=constraints.sizes)
        labels = _labels_of(distance, value, core)
        split = without_cannot_links(labels, distance, constraints, core=core, eps=value)
        found.append(constraints.expanded(split))
    return found


def dbscan(distance: csr_array, *, eps: float, min_samples: int) -> NDArray[np.int64]:
    """Cluster by DBSCAN on stored distances.

    Args:
        distance: ``[N, N]`` csr array, symmetric; a pair that is not stored is farther than ``eps``. A sample is its
            own neighbour only where its own distance is stored.
        eps: The largest distance of two neighbours, inclusive, compared in the distance's own precision.
        min_samples: Neighbours, the sample itself included, that make a core sample.

    Returns:
        ``[N]`` int64: clusters numbered by their first core sample, -1 noise. A border sample belongs to the first
        cluster that reaches it.

    Examples:
        >>> pairs = csr_array(np.array([[0.1, 0.2, 0.0], [0.2, 0.1, 0.0], [0.0, 0.0, 0.1]]))
        >>> dbscan(pairs, eps=0.2, min_samples=2)
        array([ 0,  0, -1])

    Cost: O(stored pairs). Paper: section 3.3; Ester et al., KDD 1996.
    """
    return _labels_of(distance, eps, core_samples(distance, eps=eps, min_samples=min_samples))


def core_samples(
    distance: csr_array, *, eps: float, min_samples: int, weights: NDArray[np.int64] | None = None
) -> NDArray[np.bool_]:
    """Find the core samples of DBSCAN.

    Args:
        distance: ``[N, N]`` csr array, symmetric; a pair that is not stored is farther than ``eps``.
        eps: The largest distance of two neighbours, inclusive, compared in the distance's own precision.
        min_samples: Neighbours, the sample itself included, that make a core sample.
        weights: ``[N]`` int64, as how many neighbours each sample counts; None: as one.

    Returns:
        ``[N]`` bool.
    """
    check_count(min_samples, "min_samples")
    check_range(eps, "eps", 0, 1)
    limit = distance.data.dtype.type(eps)
    indptr = distance.indptr.astype(np.int64, copy=False)
    if weights is None:
        core: NDArray[np.bool_] = _core_samples(indptr, distance.data, limit, min_samples)
        return core
    near = np.where(distance.data <= limit, weights[distance.indices], 0)
    totals = np.concatenate([[0], np.cumsum(near)])
    return np.asarray(totals[indptr[1:]] - totals[indptr[:-1]] >= min_samples)


def _labels_of(distance: csr_array, eps: float, core: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Grow the clusters of core samples, ``[N]``."""
    indptr = distance.indptr.astype(np.int64, copy=False)
    indices = distance.indices.astype(np.int32, copy=False)
    labels: NDArray[np.int64] = _grow_clusters(indptr, indices, distance.data, distance.data.dtype.type(eps), core)
    return labels


@njit(cache=True, parallel=PARALLEL)
def _core_samples(indptr, data, limit, min_samples):  # type: ignore[no-untyped-def]
    core = np.zeros(len(indptr) - 1, dtype=np.bool_)
    for row in prange(len(core)):
        near = 0
        for place in range(indptr[row], indptr[row + 1]):
            near += data[place] <= limit
        core[row] = near >= min_samples
    return core


@njit(cache=True)
def _grow_clusters(indptr, indices, data, limit, core):  # type: ignore[no-untyped-def]
    labels = np.full(len(core), -1, dtype=np.int64)
    # Each sample is pushed at most once, when it gets its label: the stack holds at most N.
    stack = np.empty(len(core), dtype=np.int32)
    label = 0
    for seed in range(len(core)):
        if labels[seed] != -1 or not core[seed]:
            continue
        labels[seed] = label
        stack[0] = seed
        height = 1
        while height > 0:
            height -= 1
            row = stack[height]
            for place in range(indptr[row], indptr[row + 1]):
                other = indices[place]
                if data[place] <= limit and labels[other] == -1:
                    labels[other] = label
                    if core[other]:
                        stack[height] = other
                        height += 1
        label += 1
    return labels
