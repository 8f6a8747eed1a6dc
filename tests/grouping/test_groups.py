"""Groups for people: the normal clusters, numbered by size, with a confidence that orders them by precision."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import silhouette_samples

from spcl.grouping.eps_choice import k2_for
from spcl.grouping.groups import cluster
from spcl.selfpaced.pseudo_labels import pseudo_labels
from tests.selfpaced.test_pseudo_labels import groups


def test_numbers_go_by_size_and_then_by_the_first_image():
    rows = groups(np.random.default_rng(0), [7, 11, 7, 9], dim=32, spread=0.2)
    found = cluster(rows, eps=0.5, k1=8, k2=3)
    assert found.group.tolist() == [2] * 7 + [0] * 11 + [3] * 7 + [1] * 9
    assert found.sizes.tolist() == [11, 9, 7, 7]
    assert found.num_ungrouped == 0
    assert (found.eps, found.k1, found.k2, found.min_samples, found.suggestion) == (0.5, 8, 3, 4, None)


def test_groups_are_the_clusters_and_confidence_is_its_definition():
    rows = groups(np.random.default_rng(1), [15, 12, 20, 9, 14], spread=1.0)
    found = cluster(rows, eps=0.55, k1=10)
    labels = pseudo_labels(rows, k1=10, k2=k2_for(10), eps=0.55)
    grouped = found.group >= 0
    assert np.array_equal(grouped, labels.scales.normal >= 0)
    assert 0 < grouped.sum() < len(rows)
    pairs = set(zip(found.group.tolist(), labels.scales.normal.tolist(), strict=True))
    assert len(pairs) == len(found.sizes) + 1  # one to one, and the images of no group
    nearer = silhouette_samples(rows[grouped].astype(np.float64), found.group[grouped], metric="cosine")
    expected = np.zeros(len(rows))
    expected[grouped] = (labels.independence * labels.compactness)[grouped] * np.clip(nearer, 0, 1)
    np.testing.assert_allclose(found.confidence, expected, atol=1e-5)


def test_surer_images_are_more_often_right():
    gains = []
    for seed in range(4):
        sizes = [14] * 20
        rows = groups(np.random.default_rng(seed), sizes, dim=32, spread=1.5)
        found = cluster(rows)
        names = np.repeat(np.arange(20), sizes)
        grouped = np.flatnonzero(found.group >= 0)
        precision = np.array([(names[found.group == found.group[row]] == names[row]).mean() for row in grouped])
        surest = np.argsort(-found.confidence[grouped])[: len(grouped) // 2]
        gains.append(precision[surest].mean() - precision.mean())
    assert np.mean(gains) > 0.03
    assert min(gains) > -0.02


def test_settings_are_suggested_unless_given():
    rows = groups(np.random.default_rng(2), [6] * 12, dim=32, spread=0.5)
    found = cluster(rows)
    assert found.suggestion is not None
    assert (found.eps, found.k1, found.k2) == (found.suggestion.eps, found.suggestion.k1, found.suggestion.k2)
    assert found.sizes.tolist() == [6] * 12
    kept = cluster(rows, eps=0.33)
    assert kept.eps == 0.33
    assert kept.suggestion is not None
    assert cluster(rows, eps=0.33, k1=6).suggestion is None
    for same in (cluster(rows), cluster(torch.from_numpy(rows)), cluster(rows.astype(np.float64))):
        assert np.array_equal(same.group, found.group)


@pytest.mark.parametrize("num", [0, 1, 2, 3])
def test_too_few_images_are_in_no_group(num):
    found = cluster(np.eye(4, dtype=np.float32)[:num])
    assert found.group.tolist() == [-1] * num
    assert found.confidence.tolist() == [0.0] * num
    assert (found.sizes.tolist(), found.num_ungrouped) == ([], num)


def test_all_alike_is_one_sure_group_and_nothing_alike_is_none():
    found = cluster(np.tile(np.array([[0.6, 0.8]], dtype=np.float32), (50, 1)))
    assert set(found.group.tolist()) == {0}
    assert found.confidence == pytest.approx(np.ones(50), abs=1e-6)
    assert cluster(np.eye(50, dtype=np.float32), eps=0.05, k1=1, k2=1).num_ungrouped == 50


def test_settings_out_of_range_are_named():
    with pytest.raises(ValueError, match=r"eps is 0\.99"):
        cluster(np.eye(9, dtype=np.float32), eps=0.99, k1=5)
