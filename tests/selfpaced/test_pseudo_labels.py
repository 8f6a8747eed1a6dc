"""The labels of an epoch: degenerate inputs are answers, and everything equals the dense way."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spcl.neighbours.nearest import nearest_neighbours
from spcl.selfpaced.pseudo_labels import pseudo_labels


def groups(rng: np.random.Generator, sizes: list[int], dim: int = 16, spread: float = 0.2) -> np.ndarray:
    centres = rng.standard_normal((len(sizes), dim))
    rows = np.repeat(centres, sizes, axis=0) + spread * rng.standard_normal((sum(sizes), dim))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def test_clear_groups_are_found():
    found = pseudo_labels(groups(np.random.default_rng(0), [10, 12, 8]), k1=8, k2=3)
    assert found.num_clusters == 3
    assert np.array_equal(np.unique(found.labels), np.arange(found.num_clusters + found.num_unclustered))
    assert found.cluster_sizes.tolist() == sorted(np.bincount(found.labels)[:3].tolist())


@pytest.mark.parametrize("num", [0, 1, 2, 3])
def test_fewer_images_than_a_cluster_needs(num):
    found = pseudo_labels(np.eye(4, dtype=np.float32)[:num])
    assert found.labels.tolist() == list(range(num))
    assert (found.num_clusters, found.num_unclustered) == (0, num)
    assert found.independence_threshold is None


def test_identical_images_are_one_cluster():
    found = pseudo_labels(np.tile(np.array([[0.6, 0.8]], dtype=np.float32), (100, 1)))
    assert (found.num_clusters, found.num_unclustered) == (1, 0)


def test_nothing_clusters():
    found = pseudo_labels(np.eye(60, dtype=np.float32), k1=1, k2=1)
    assert found.num_clusters == 0
    assert np.array_equal(np.sort(found.labels), np.arange(60))


def test_fewer_rows_than_k1():
    found = pseudo_labels(groups(np.random.default_rng(1), [6, 6], spread=0.05), k1=30, k2=6)
    assert len(found.labels) == 12


def test_threshold_is_set_by_the_first_epoch_with_clusters_and_kept():
    rows = groups(np.random.default_rng(2), [10] * 6, spread=0.9)
    first = pseudo_labels(rows, k1=8, k2=3)
    assert first.independence_threshold is not None
    assert pseudo_labels(rows, k1=8, k2=3, independence_threshold=0.0).independence_threshold == 0.0


def test_kinds_of_input_agree_and_stay_untouched():
    rows = groups(np.random.default_rng(3), [9, 9, 9], spread=0.5)
    before = rows.copy()
    labels = pseudo_labels(rows, k1=8).labels
    assert np.array_equal(pseudo_labels(torch.from_numpy(rows), k1=8).labels, labels)
    assert np.array_equal(pseudo_labels(rows.astype(np.float64), k1=8).labels, labels)
    given_neighbours = nearest_neighbours(rows, 8).indices
    assert np.array_equal(pseudo_labels(rows, k1=8, neighbours=given_neighbours).labels, labels)
    assert np.array_equal(rows, before)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"k1": 0}, "k1 is 0"),
        ({"eps": 0.99}, "eps is 0.99"),
        ({"eps": 0.01}, "eps is 0.01"),
        ({"min_samples": 0}, "min_samples"),
    ],
)
def test_settings_out_of_range_are_named(changed, message):
    with pytest.raises(ValueError, match=message):
        pseudo_labels(np.eye(5, dtype=np.float32), **changed)


def test_wrong_neighbours_are_named():
    with pytest.raises(ValueError, match="neighbours have 3 rows, features 5"):
        pseudo_labels(np.eye(5, dtype=np.float32), neighbours=np.zeros((3, 2), dtype=np.int64))
    with pytest.raises(ValueError, match="row numbers from 0 to 4"):
        pseudo_labels(np.eye(5, dtype=np.float32), neighbours=np.full((5, 2), 9))


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    sizes=st.lists(st.integers(1, 15), min_size=1, max_size=6),
    duplicates=st.integers(0, 6),
    k1=st.integers(1, 14),
    k2=st.integers(1, 6),
    eps=st.sampled_from([0.3, 0.5, 0.6]),
)
def test_equals_the_dense_way(seed, sizes, duplicates, k1, k2, eps):
    from tests.oracles.dense_labels import dense_pseudo_labels

    rows = groups(np.random.default_rng(seed), sizes, dim=5, spread=0.6)
    rows = np.concatenate([rows, rows[:duplicates]])
    neighbours = nearest_neighbours(rows, k1).indices
    found = pseudo_labels(rows, k1=k1, k2=k2, eps=eps, neighbours=neighbours)
    expected = dense_pseudo_labels(rows, neighbours, k1=k1, k2=k2, eps=eps, eps_gap=0.02, min_samples=4)
    for scale, dense in zip(found.scales, expected.scales, strict=True):
        assert np.array_equal(scale, dense)
    assert np.array_equal(found.labels, expected.labels)
