"""Average linkage on sparse distances equals SciPy's on the dense ones."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.sparse import csr_array
from scipy.spatial.distance import squareform
from sklearn.metrics import adjusted_rand_score

from spcl.grouping.average_linkage import average_linkage, cut
from spcl.pairs.constraints import PairConstraints
from spcl.retrieval.jaccard import jaccard_distance


def sparse_distance(num: int, seed: int, stored: float) -> np.ndarray:
    """Random symmetric distances; the pairs that are not stored are at distance 1."""
    rng = np.random.default_rng(seed)
    dense = np.where(rng.random((num, num)) < stored, rng.random((num, num)), 1.0)
    dense = np.minimum(dense, dense.T)
    np.fill_diagonal(dense, 0)
    return dense


def stored_of(dense: np.ndarray) -> csr_array:
    """The pairs below distance 1, zeros among them."""
    rows, columns = np.nonzero(dense < 1)
    return csr_array((dense[rows, columns], (rows, columns)), dense.shape)


def same(labels: np.ndarray, others: np.ndarray) -> bool:
    return adjusted_rand_score(labels, others) == 1


def with_singles(labels: np.ndarray) -> np.ndarray:
    return np.where(labels < 0, labels.max() + 1 + np.arange(len(labels)), labels)


@pytest.mark.parametrize(("seed", "stored"), [(0, 0.1), (1, 0.4), (2, 1.0)])
def test_equals_scipy(seed, stored):
    dense = sparse_distance(80, seed, stored)
    tree = linkage(squareform(dense), "average")
    merges = average_linkage(stored_of(dense))
    for threshold in (0.1, 0.3, 0.5, 0.8, 0.95):
        found = cut(merges, threshold)
        assert same(with_singles(found), fcluster(tree, threshold, "distance"))
        alone = np.bincount(with_singles(found))[with_singles(found)] == 1
        assert np.array_equal(found == -1, alone)


def test_equals_scipy_on_jaccard_distances():
    rng = np.random.default_rng(3)
    rows = np.repeat(rng.normal(size=(12, 8)), 10, axis=0) + 0.6 * rng.normal(size=(120, 8))
    stored = jaccard_distance(rows.astype(np.float32), k1=8, k2=3, cutoff=0.99)
    dense = np.ones((120, 120))
    entries = stored.tocoo()
    dense[entries.row, entries.col] = entries.data
    np.fill_diagonal(dense, 0)
    tree = linkage(squareform(dense, checks=False), "average")
    merges = average_linkage(stored)
    for threshold in (0.5, 0.7, 0.9):
        assert same(with_singles(cut(merges, threshold)), fcluster(tree, threshold, "distance"))


def test_by_hand():
    # 0-1 at 0.2; 2 is at 0.4 from 0 and at 1 from 1: 0.7 on average; 3 is alone.
    dense = np.array([[0, 0.2, 0.4, 1], [0.2, 0, 1, 1], [0.4, 1, 0, 1], [1, 1, 1, 0.0]])
    merges = average_linkage(stored_of(dense))
    np.testing.assert_allclose(merges.distance, [0.2, 0.7])
    assert cut(merges, 0.69).tolist() == [0, 0, -1, -1]
    assert cut(merges, 0.7).tolist() == [0, 0, 0, -1]
    assert cut(average_linkage(stored_of(dense), most=0.5), 0.5).tolist() == [0, 0, -1, -1]


def test_one_weak_link_does_not_join_two_groups():
    near = np.full((8, 8), 1.0)
    near[:4, :4] = near[4:, 4:] = 0.3
    near[3, 4] = near[4, 3] = 0.3
    np.fill_diagonal(near, 0)
    assert cut(average_linkage(stored_of(near)), 0.8).tolist() == [0, 0, 0, 0, 1, 1, 1, 1]


def test_degenerate_input():
    nothing = csr_array((0, 0))
    assert len(cut(average_linkage(nothing), 0.5)) == 0
    apart = csr_array(np.eye(3))  # only the diagonal is stored
    assert cut(average_linkage(apart), 0.9).tolist() == [-1, -1, -1]
    equal = np.zeros((6, 6))
    assert cut(average_linkage(csr_array((equal.ravel(), np.indices((6, 6)).reshape(2, -1)), (6, 6))), 0.1).max() == 0
    with pytest.raises(ValueError, match="most"):
        average_linkage(apart, most=1.0)


def test_input_is_not_changed():
    stored = stored_of(sparse_distance(30, 5, 0.5))
    before = stored.copy()
    average_linkage(stored)
    assert np.array_equal(stored.data, before.data) and np.array_equal(stored.indices, before.indices)


def dense_merging(dense, nodes, apart, threshold):
    """Merge the two nearest clusters until none is near enough; cannot-links are never merged."""
    clusters = [np.flatnonzero(nodes == node).tolist() for node in range(nodes.max() + 1)]
    while True:
        pairs = [
            (np.round(np.mean([dense[a, b] for a in one for b in other]), 9), at, to)
            for at, one in enumerate(clusters)
            for to, other in enumerate(clusters)
            if at < to and not any((a, b) in apart or (b, a) in apart for a in one for b in other)
        ]
        if not pairs or min(pairs)[0] > threshold:
            return clusters
        _, at, to = min(pairs)
        clusters[at] = clusters[at] + clusters.pop(to)


@pytest.mark.parametrize("seed", range(6))
def test_known_pairs_equal_merging_one_by_one(seed):
    rng = np.random.default_rng(seed)
    dense = sparse_distance(24, seed, 0.7)
    must = rng.integers(24, size=(seed, 2))
    constraints = PairConstraints.of(24, must)
    nodes = np.arange(24) if constraints is None else constraints.nodes
    drawn = rng.integers(24, size=(12, 2))
    cannot = drawn[nodes[drawn[:, 0]] != nodes[drawn[:, 1]]]
    constraints = PairConstraints.of(24, must, cannot)
    merges = average_linkage(stored_of(dense), constraints=constraints)
    for threshold in (0.3, 0.6, 0.9):
        found = with_singles(cut(merges, threshold))
        expected = np.empty(24, dtype=int)
        for number, cluster in enumerate(dense_merging(dense, nodes, {tuple(p) for p in cannot.tolist()}, threshold)):
            expected[cluster] = number
        assert same(found, expected)
        assert (found[must[:, 0]] == found[must[:, 1]]).all()
        assert (found[cannot[:, 0]] != found[cannot[:, 1]]).all()
