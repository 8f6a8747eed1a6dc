"""DBSCAN at three scales on one sparse graph.

Paper: section 3.3, the clusters of each epoch: normal (eps), tight (eps - gap), loose (eps + gap). One stored graph
serves the three. Labels equal those of scikit-learn's DBSCAN on the dense distance, numbering and border points
included. Reliability, which compares the scales, is in ``reliability.py``.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray
from scipy.sparse import csr_array

from spcl.compiled import PARALLEL
from spcl.settings_checks import check_count, check_range

NOISE = -1
"""The label of a sample that belongs to no cluster."""


class Scales(NamedTuple):
    """Cluster labels ``[N]`` int64 at the three scales: numbered as scikit-learn does, -1 noise."""

    tight: NDArray[np.int64]
    normal: NDArray[np.int64]
    loose: NDArray[np.int64]


def cluster_at_three_scales(distance: csr_array, *, eps: float, eps_gap: float, min_samples: int) -> Scales:
    """Cluster by DBSCAN at ``eps - eps_gap``, ``eps`` and ``eps + eps_gap``.

    Args:
        distance: ``[N, N]`` csr array that stores every pair at distance ``eps + eps_gap`` or less.
        eps: DBSCAN's largest distance of two neighbours at the normal scale, inclusive.
        eps_gap: Difference of eps to the tight and the loose scale.
        min_samples: Neighbours, the sample itself included, that make a core sample.
    """
    return Scales(
        tight=dbscan(distance, eps=eps - eps_gap, min_samples=min_samples),
        normal=dbscan(distance, eps=eps, min_samples=min_samples),
        loose=dbscan(distance, eps=eps + eps_gap, min_samples=min_samples),
    )


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
    check_count(min_samples, "min_samples")
    check_range(eps, "eps", 0, 1)
    indptr = distance.indptr.astype(np.int64, copy=False)
    indices = distance.indices.astype(np.int32, copy=False)
    limit = distance.data.dtype.type(eps)
    core = _core_samples(indptr, distance.data, limit, min_samples)
    labels: NDArray[np.int64] = _grow_clusters(indptr, indices, distance.data, limit, core)
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
