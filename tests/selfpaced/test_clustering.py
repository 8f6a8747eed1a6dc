"""DBSCAN on a sparse graph: scikit-learn's labels, numbering and border points included."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array
from sklearn.cluster import DBSCAN

from spcl.selfpaced.clustering import cluster_at_three_scales, dbscan


def stored_up_to(dense: np.ndarray, cutoff: float) -> csr_array:
    """Every pair at or below the cutoff, zeros stored."""
    rows, columns = np.nonzero(dense <= np.float32(cutoff))
    indptr = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=len(dense)))])
    return csr_array((dense[rows, columns], columns.astype(np.int32), indptr), shape=dense.shape)


@settings(max_examples=80, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    num=st.integers(1, 60),
    levels=st.integers(2, 12),
    min_samples=st.integers(1, 6),
    eps=st.sampled_from([0.25, 0.5, 0.6]),
)
def test_equals_scikit_learn(seed, num, levels, min_samples, eps):
    rng = np.random.default_rng(seed)
    # Few distinct distances: many lie exactly on eps, and many border samples lie between two clusters.
    dense = (rng.integers(0, levels + 1, (num, num)) / levels).astype(np.float32)
    dense = np.maximum(dense, dense.T)
    np.fill_diagonal(dense, 0)
    expected = DBSCAN(eps=eps, min_samples=min_samples, metric="precomputed").fit(dense).labels_
    assert np.array_equal(dbscan(stored_up_to(dense, 0.7), eps=eps, min_samples=min_samples), expected)


def test_a_border_sample_belongs_to_the_first_cluster_that_reaches_it():
    # 0-1-2 and 4-5-6 are dense; 3 touches one of each and is no core sample.
    dense = np.ones((7, 7), dtype=np.float32)
    for group in ((0, 1, 2), (4, 5, 6)):
        dense[np.ix_(group, group)] = 0.1
    dense[3, 3] = 0
    for other in (4, 2):
        dense[3, other] = dense[other, 3] = 0.2
    labels = dbscan(stored_up_to(dense, 0.5), eps=0.2, min_samples=4)
    assert labels.tolist() == [0, 0, 0, 0, 1, 1, 1]


def test_three_scales_share_one_graph_that_stays_untouched():
    rng = np.random.default_rng(0)
    points = rng.standard_normal((80, 2))
    dense = np.minimum(np.linalg.norm(points[:, None] - points[None], axis=2) / 2, 1).astype(np.float32)
    graph = stored_up_to(dense, 0.35)
    before = graph.data.copy(), graph.indices.copy()
    scales = cluster_at_three_scales(graph, eps=0.3, eps_gap=0.05, min_samples=4)
    for labels, eps in zip(scales, (0.25, 0.3, 0.35), strict=True):
        assert np.array_equal(labels, DBSCAN(eps=eps, min_samples=4, metric="precomputed").fit(dense).labels_)
    assert all(np.array_equal(a, b) for a, b in zip(before, (graph.data, graph.indices), strict=True))


def test_no_neighbour_at_all_is_noise():
    assert dbscan(csr_array((3, 3), dtype=np.float32), eps=0.5, min_samples=1).tolist() == [-1, -1, -1]


def test_min_samples_must_be_positive():
    with pytest.raises(ValueError, match="min_samples is 0"):
        dbscan(csr_array((3, 3), dtype=np.float32), eps=0.5, min_samples=0)
