"""Independence, compactness, the frozen threshold and the selection, by hand and against N x N counting."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spcl.selfpaced.clustering import Scales
from spcl.selfpaced.reliability import (
    cluster_agreement,
    independence_threshold,
    reliable_labels,
    singletons_for_noise,
)

labellings = st.integers(1, 30).flatmap(
    lambda num: st.tuples(*[st.lists(st.integers(-1, 4), min_size=num, max_size=num)] * 2)
)


@settings(max_examples=100, deadline=None)
@given(labellings)
def test_agreement_equals_counting_all_pairs(pair):
    first, second = (singletons_for_noise(np.array(labels)) for labels in pair)
    same_first, same_second = first[:, None] == first, second[:, None] == second
    expected = (same_first & same_second).sum(1) / (same_first | same_second).sum(1)
    assert np.array_equal(cluster_agreement(*(np.array(labels) for labels in pair)), expected)


def test_threshold_is_the_place_at_nine_tenths():
    labels = np.repeat(np.arange(20), 2)
    scores = np.linspace(1.0, 0.05, 20)
    # round(0.9 * 20) = 18: the nineteenth most independent.
    assert independence_threshold(labels, np.repeat(scores, 2)) == scores[18]
    # One cluster: round(0.9) = 1 is past the end.
    assert independence_threshold(np.array([0, 0]), np.array([0.3, 0.4])) == 0.4


def test_halves_round_to_even():
    labels = np.repeat(np.arange(5), 2)
    scores = np.array([0.9, 0.8, 0.7, 0.6, 0.5])
    # 0.9 * 5 = 4.5 rounds to 4, the last.
    assert independence_threshold(labels, np.repeat(scores, 2)) == 0.5
    labels = np.repeat(np.arange(15), 2)
    scores = np.linspace(1, 0.2, 15)
    # 13.5 rounds to 14, the last; 12.5 does not occur with 0.9 n.
    assert independence_threshold(labels, np.repeat(scores, 2)) == scores[14]


def test_clusters_of_one_image_do_not_set_the_threshold():
    assert independence_threshold(np.array([0, 0, 1]), np.array([0.5, 0.5, 0.1])) == 0.5
    assert independence_threshold(np.array([0]), np.array([0.5])) is None
    assert independence_threshold(np.array([-1, -1]), np.array([0.5, 0.5])) is None


def test_selection_by_hand():
    normal = np.array([0, 0, 0, 1, 1, -1])
    scales = Scales(tight=normal, normal=normal, loose=normal)
    independence = np.array([0.9, 0.2, 0.2, 0.3, 0.3, 1.0])
    compactness = np.array([1.0, 1.0, 0.5, 1.0, 1.0, 1.0])
    # Cluster 0 passes by its best member; its third member is not compact. Cluster 1 is not independent.
    labels = reliable_labels(scales, independence, compactness, 0.5)
    assert labels.tolist() == [0, 0, 2, 3, 4, 1]


def test_threshold_that_was_stored_in_single_precision_still_equals():
    normal = np.array([0, 0, 0])
    score = np.full(3, 1 / 3)
    stored = 1 - float(np.float32(1) - np.float32(1 / 3))
    assert stored > 1 / 3
    scales = Scales(normal, normal, normal)
    assert reliable_labels(scales, score, np.ones(3), stored).tolist() == [0, 0, 0]


@pytest.mark.parametrize("value", [None, 0.0])
def test_without_a_threshold_every_cluster_stays(value):
    normal = np.array([0, 0, 1, 1])
    scales = Scales(normal, normal, normal)
    assert reliable_labels(scales, np.full(4, 0.01), np.ones(4), value).tolist() == [0, 0, 1, 1]


def test_input_is_untouched():
    normal = np.array([0, 0, -1])
    scales = Scales(normal, normal, normal)
    reliable_labels(scales, np.zeros(3), np.ones(3), 0.5)
    assert normal.tolist() == [0, 0, -1]
