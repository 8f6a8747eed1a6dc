"""Clusters and labels under known pairs: equal to dense oracles, to the bit without pairs, and what always holds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

import spcl
from spcl.grouping.eps_choice import suggest
from spcl.neighbours.nearest import nearest_neighbours
from spcl.pairs.constraints import PairConstraints
from spcl.retrieval.jaccard import jaccard_distance
from spcl.selfpaced.clustering import clusters_at, dbscan
from spcl.selfpaced.pseudo_labels import pseudo_labels
from tests.oracles.dense_known_pairs import dense_clusters, dense_labels_with_pairs, objects_of

NUM = 14


def stored(distance, most=1.0):
    rows, columns = np.nonzero(distance <= most)
    return csr_array((distance[rows, columns], (rows, columns)), shape=distance.shape)


@st.composite
def problems(draw):
    """Distances of few values, so that many are equal, and known pairs without contradictions."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    distance = rng.choice(np.array([0.1, 0.2, 0.3, 0.5, 0.9], dtype=np.float32), size=(NUM, NUM))
    distance = np.triu(distance, 1) + np.triu(distance, 1).T
    rows = st.integers(0, NUM - 1)
    must = draw(st.lists(st.tuples(rows, rows), max_size=8))
    objects = objects_of(NUM, must)
    cannot = [
        pair for pair in draw(st.lists(st.tuples(rows, rows), max_size=10)) if objects[pair[0]] != objects[pair[1]]
    ]
    return distance, must, cannot


@settings(deadline=None, max_examples=60)
@given(problems(), st.sampled_from([0.15, 0.2, 0.3, 0.5]), st.integers(1, 6))
def test_clusters_equal_the_dense_oracle(problem, eps, min_samples):
    distance, must, cannot = problem
    constraints = PairConstraints.of(NUM, must, cannot)
    num = objects_of(NUM, must).max() + 1
    distance = distance[:num, :num]
    (found,) = clusters_at(stored(distance, 0.6), [eps], min_samples=min_samples, constraints=constraints)
    if constraints is None:
        np.testing.assert_array_equal(found, dbscan(stored(distance, 0.6), eps=eps, min_samples=min_samples))
        return
    expected = dense_clusters(distance, objects_of(NUM, must), cannot, eps=eps, min_samples=min_samples)
    np.testing.assert_array_equal(found, expected)
    check_pairs(found, must, cannot)


def check_pairs(labels, must, cannot):
    assert all(labels[one] == labels[other] and (labels[one] >= 0 or one == other) for one, other in must)
    assert all(labels[one] != labels[other] or labels[one] < 0 for one, other in cannot)


def group_features(seed, num=40, spread=0.5):
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(8, 16))
    rows = centres[rng.integers(8, size=num)] + spread * rng.normal(size=(num, 16))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 10**6), st.data())
def test_labels_equal_the_dense_oracle(seed, data):
    features = group_features(seed, 28)
    rows = st.integers(0, len(features) - 1)
    must = data.draw(st.lists(st.tuples(rows, rows), max_size=12))
    objects = objects_of(len(features), must)
    drawn = data.draw(st.lists(st.tuples(rows, rows), max_size=12))
    cannot = [pair for pair in drawn if objects[pair[0]] != objects[pair[1]]]
    given_settings = {"k1": 8, "k2": 3, "eps": 0.55, "eps_gap": 0.05, "min_samples": 3}
    neighbours = nearest_neighbours(features, 9).indices
    found = pseudo_labels(features, **given_settings, neighbours=neighbours, must_link=must, cannot_link=cannot)
    if not must and not cannot:
        return
    expected = dense_labels_with_pairs(features, neighbours, must, cannot, **given_settings)
    for scale, wanted in zip(found.scales, expected.scales, strict=True):
        np.testing.assert_array_equal(scale, wanted)
    np.testing.assert_array_equal(found.labels, expected.labels)
    assert all(found.labels[one] == found.labels[other] for one, other in must)
    assert all(found.labels[one] != found.labels[other] for one, other in cannot)


def test_without_pairs_labels_are_equal_to_the_bit():
    features = group_features(3, 200)
    plain = pseudo_labels(features, k1=10, k2=3)
    for empty in ([], np.empty((0, 2), dtype=np.int64), None):
        found = pseudo_labels(features, k1=10, k2=3, must_link=empty, cannot_link=empty)
        for name in ("labels", "independence", "compactness"):
            np.testing.assert_array_equal(getattr(found, name), getattr(plain, name))
        for scale, wanted in zip(found.scales, plain.scales, strict=True):
            np.testing.assert_array_equal(scale, wanted)
    groups, same = spcl.cluster(features), spcl.cluster(features, must_link=[], cannot_link=None)
    np.testing.assert_array_equal(groups.group, same.group)
    np.testing.assert_array_equal(groups.confidence, same.confidence)
    assert (groups.eps, groups.k1) == (same.eps, same.k1)


def test_a_cluster_is_split_at_its_weakest_link():
    """Two chains 0-1-2 and 3-4-5, joined by one far link: a cannot-link of the ends cuts that link."""
    distance = np.full((6, 6), 0.9, dtype=np.float32)
    np.fill_diagonal(distance, 0)
    for one, other, value in ((0, 1, 0.1), (1, 2, 0.2), (2, 3, 0.3), (3, 4, 0.1), (4, 5, 0.2)):
        distance[one, other] = distance[other, one] = value
    apart = PairConstraints.of(6, cannot_link=[[0, 5]])
    (found,) = clusters_at(stored(distance), [0.35], min_samples=2, constraints=apart)
    assert found.tolist() == [0, 0, 0, 1, 1, 1]
    (found,) = clusters_at(stored(distance), [0.35], min_samples=2, constraints=PairConstraints.of(6, [[0, 0]]))
    assert found.tolist() == [0] * 6
    # Nodes 0 to 5 of seven samples: the last two are one object.
    two = PairConstraints.of(7, must_link=[[5, 6]], cannot_link=[[6, 4], [1, 2]])
    (found,) = clusters_at(stored(distance), [0.35], min_samples=2, constraints=two)
    assert found.tolist() == [0, 0, 1, 1, 1, 2, 2]


def test_distances_of_objects_without_links_are_those_of_rows_to_the_bit():
    features = group_features(7, 50)
    neighbours = nearest_neighbours(features, 8).indices
    for settings_of_distance in ({"k1": 8, "k2": 3}, {"k1": 6, "k2": 1}):
        plain = jaccard_distance(features, **settings_of_distance, cutoff=0.9, neighbours=neighbours)
        same = jaccard_distance(
            features, **settings_of_distance, cutoff=0.9, neighbours=neighbours, nodes=np.arange(50)
        )
        for name in ("data", "indices", "indptr"):
            np.testing.assert_array_equal(getattr(plain, name), getattr(same, name))


def test_groups_keep_known_pairs():
    features = group_features(5, 60, spread=0.9)
    must, cannot = [[0, 1], [1, 2], [10, 20]], [[2, 3], [10, 30], [4, 5]]
    found = spcl.cluster(features, must_link=must, cannot_link=cannot, min_samples=3)
    check_pairs(found.group, must, cannot)
    given_settings = spcl.cluster(features, eps=0.6, k1=10, must_link=must, cannot_link=cannot)
    check_pairs(given_settings.group, must, cannot)


def test_settings_are_rated_by_the_must_links_alone():
    features = group_features(5, 60, spread=0.9)
    must, cannot = [[0, 1], [1, 2], [10, 20]], [[2, 3], [10, 30], [4, 5]]
    linked = suggest(features, constraints=PairConstraints.of(60, must))
    both = suggest(features, constraints=PairConstraints.of(60, must, cannot))
    assert (both.eps, both.k1, both.reasons) == (linked.eps, linked.k1, linked.reasons)
    apart = suggest(features, constraints=PairConstraints.of(60, None, cannot))
    assert apart.reasons == suggest(features).reasons


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ({"must_link": [[0, 99]]}, "has the row 99"),
        ({"cannot_link": [[-1, 2]]}, "has the row -1"),
        ({"must_link": [0, 1]}, "expected \\[M, 2\\]"),
        ({"must_link": [[0.5, 1]]}, "expected \\[M, 2\\]"),
        ({"must_link": [[0, 1], [1, 2]], "cannot_link": [[2, 0]]}, "rows 2 and 0"),
    ],
)
def test_wrong_pairs_are_refused(pairs, message):
    for function in (spcl.pseudo_labels, spcl.cluster):
        with pytest.raises(ValueError, match=message):
            function(group_features(0), **pairs)
