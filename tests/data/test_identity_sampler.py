"""The sampler: the official draws without a loop, and batches that are a function of epoch and iteration."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spcl.data.identity_sampler import IdentityBatches, identity_pass
from tests.input_errors import input_error
from tests.oracles.identity_sampler import loop_pass


def split_by_class(rows, labels):
    """Consecutive rows of one class."""
    cuts = np.flatnonzero(np.diff(labels[rows])) + 1
    return np.split(rows, cuts)


@settings(max_examples=80, deadline=None)
@given(seed=st.integers(0, 10**6), num=st.integers(1, 60), classes=st.integers(1, 12), k=st.integers(1, 5))
def test_structure(seed, num, classes, k):
    rng = np.random.default_rng(seed)
    labels, cameras = rng.integers(0, classes, num), rng.integers(-1, 3, num)
    rows = identity_pass(labels, cameras, num_instances=k, rng=rng)
    groups = split_by_class(rows, labels)
    assert sorted(labels[group[0]] for group in groups) == sorted(set(labels.tolist()))
    for group in groups:
        first, others = group[0], group[1:]
        members = np.flatnonzero(labels == labels[first])
        assert len(group) == (1 if len(members) == 1 else k)
        elsewhere = [r for r in members if r != first and (cameras[r] != cameras[first] or cameras[r] == -1)]
        allowed = elsewhere or [r for r in members if r != first]
        assert set(others.tolist()) <= {int(r) for r in allowed}
        if len(allowed) >= k:
            assert len(set(others.tolist())) == len(others)


def test_draws_are_those_of_the_official_loop():
    """How often each image is drawn, over many passes, with and without repetition, with one and several cameras."""
    labels = np.array([0] * 6 + [1] * 3 + [2] * 4 + [3])
    cameras = np.array([0, 0, 1, 1, 2, 2, 0, 1, 1, 0, 0, 0, 0, 1])
    counts = np.zeros((2, len(labels)))
    rng = np.random.default_rng(0)
    for _ in range(6000):
        counts[0] += np.bincount(identity_pass(labels, cameras, num_instances=4, rng=rng), minlength=len(labels))
        counts[1] += np.bincount(loop_pass(labels, cameras, 4, rng), minlength=len(labels))
    np.testing.assert_allclose(counts[0] / 6000, counts[1] / 6000, atol=0.06)


@pytest.mark.parametrize(
    ("size", "cameras"),
    [
        (5, [0, 1, 1, 1, 1]),
        (4, [0, 0, 0, 0]),
        (3, [0, 1, 2]),
        (2, [0, 1]),
        (6, [0, 0, 0, 1, 1, 1]),
        (5, [0, 0, 0, 1, 1]),
    ],
)
def test_repetition_is_that_of_the_official_loop(size, cameras):
    """What is drawn together from one class: the first image and, in any order, the others."""
    labels, cameras, passes = np.zeros(size, dtype=np.int64), np.array(cameras), 4000

    def shares(one_pass):
        drawn = Counter((rows[0], *sorted(rows[1:])) for rows in (one_pass().tolist() for _ in range(passes)))
        return {combination: count / passes for combination, count in drawn.items()}

    rng = np.random.default_rng(4)
    ours = shares(lambda: identity_pass(labels, cameras, num_instances=4, rng=rng))
    theirs = shares(lambda: loop_pass(labels, cameras, 4, rng))
    for combination in ours.keys() | theirs.keys():
        share = (ours.get(combination, 0) + theirs.get(combination, 0)) / 2
        assert abs(ours.get(combination, 0) - theirs.get(combination, 0)) < 5 * np.sqrt(2 * share / passes) + 1e-3


def test_classes_come_in_random_order():
    labels = np.repeat(np.arange(6), 2)
    rng = np.random.default_rng(5)
    places = np.zeros((6, 6))
    for _ in range(3000):
        order = labels[identity_pass(labels, np.zeros(12, np.int64), num_instances=2, rng=rng)][::2]
        places[order, np.arange(6)] += 1
    np.testing.assert_allclose(places / 3000, 1 / 6, atol=0.04)


def test_labels_need_not_be_contiguous_and_inputs_are_left_alone():
    labels, cameras = np.array([7, 100, 7, 3, 100]), np.array([0, 0, 1, 0, 1])
    copies = labels.copy(), cameras.copy()
    rows = identity_pass(labels, cameras, num_instances=2, rng=np.random.default_rng(0))
    assert sorted(rows.tolist()) == [0, 1, 2, 3, 4]
    assert rows.dtype == np.int64
    assert np.array_equal(labels, copies[0])
    assert np.array_equal(cameras, copies[1])


def batches(labels, **changed):
    options = {"batch_size": 8, "num_instances": 4, "seed": 1, "domain": 0} | changed
    return IdentityBatches(labels, np.full(len(labels), -1), **options)


def test_a_batch_is_a_function_of_epoch_and_iteration():
    labels = np.repeat(np.arange(7), 3)
    one = batches(labels)
    expected = {(e, i): one.batch(e, i).tolist() for e in range(2) for i in range(9)}
    order = np.random.default_rng(0).permutation(list(expected))
    other = batches(labels)
    for epoch, iteration in order.tolist():
        assert other.batch(epoch, iteration).tolist() == expected[epoch, iteration]
    assert expected[0, 0] != expected[1, 0]
    assert batches(labels, seed=2).batch(0, 0).tolist() != expected[0, 0]
    assert batches(labels, domain=1).batch(0, 0).tolist() != expected[0, 0]


def test_full_batches_only_and_the_rest_of_a_pass_is_dropped():
    labels = np.repeat(np.arange(5), 4)  # a pass is 20 images: two batches of 8, four left over
    drawn = [batches(labels).batch(0, iteration) for iteration in range(6)]
    assert {len(rows) for rows in drawn} == {8}
    for first in (0, 2, 4):
        classes = labels[np.concatenate(drawn[first : first + 2])]
        assert len(set(classes.tolist())) == 4
    passes = [np.concatenate(drawn[first : first + 2]).tolist() for first in (0, 2, 4)]
    assert passes[0] != passes[1] != passes[2] != passes[0]


@pytest.mark.parametrize("num", [1, 2, 5])
def test_fewer_images_than_a_batch(num):
    rows = batches(np.arange(num)).batch(0, 3)
    assert len(rows) == 8
    assert set(rows.tolist()) == set(range(num))


def test_no_image_is_an_error():
    with input_error("no-images"):
        batches(np.empty(0, dtype=np.int64))


def test_without_instances_a_pass_is_all_images_in_random_order():
    labels = np.repeat(np.arange(3), [1, 4, 7])
    batches = IdentityBatches(labels, np.full(12, -1), batch_size=4, num_instances=0, seed=0, domain=0)
    drawn = [batches.batch(1, iteration) for iteration in range(6)]
    for one_pass in (drawn[:3], drawn[3:]):
        np.testing.assert_array_equal(np.sort(np.concatenate(one_pass)), np.arange(12))
    assert not np.array_equal(np.concatenate(drawn[:3]), np.concatenate(drawn[3:]))
    np.testing.assert_array_equal(batches.batch(1, 1), drawn[1])


@pytest.mark.parametrize("changed", [{"batch_size": 0}, {"num_instances": -1}])
def test_an_empty_batch_is_an_error(changed):
    with input_error("setting-out-of-range"):
        batches(np.arange(3), **changed)


def test_cameras_of_other_images_are_an_error():
    with pytest.raises(ValueError, match="3 labels and 4 cameras"):
        IdentityBatches(np.arange(3), np.zeros(4, np.int64), batch_size=2, num_instances=1, seed=0, domain=0)


def test_an_image_of_unknown_camera_is_of_another_camera_than_every_other():
    """With one other image drawn: after an unknown one, any; after a known one, unknown or other, never the same."""
    labels, cameras = np.zeros(5, dtype=np.int64), np.array([-1, -1, 0, 0, 1])
    rng = np.random.default_rng(6)
    drawn = Counter(tuple(identity_pass(labels, cameras, num_instances=2, rng=rng).tolist()) for _ in range(5000))
    others = {0: [1, 2, 3, 4], 1: [0, 2, 3, 4], 2: [0, 1, 4], 3: [0, 1, 4], 4: [0, 1, 2, 3]}
    assert drawn.keys() == {(first, other) for first, allowed in others.items() for other in allowed}
    for (first, _), count in drawn.items():
        assert abs(count / 5000 - 1 / (5 * len(others[first]))) < 0.015


def test_other_cameras_come_first_and_then_other_tracks():
    """Images 0-2 are of camera 0 in two tracks, 3 of camera 1; class 1 has one camera, in two tracks and none."""
    labels = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    cameras = np.array([0, 0, 0, 1, 2, 2, 2, 2])
    tracks = np.array([5, 5, 6, 7, 8, 8, 9, -1])
    rng = np.random.default_rng(1)
    found = set()
    for _ in range(400):
        drawn = identity_pass(labels, cameras, num_instances=2, rng=rng, tracks=tracks).reshape(-1, 2)
        found |= {tuple(pair) for pair in drawn.tolist()}
    of_cameras = {(0, 3), (1, 3), (2, 3), (3, 0), (3, 1), (3, 2)}
    of_tracks = {(4, 6), (4, 7), (5, 6), (5, 7), (6, 4), (6, 5), (6, 7), (7, 4), (7, 5), (7, 6)}
    assert found == of_cameras | of_tracks


def test_tracks_of_which_all_are_apart_change_no_draw():
    labels, cameras = np.repeat(np.arange(6), 5), np.arange(30) % 3
    for tracks in (np.full(30, -1), np.arange(30)):
        one = identity_pass(labels, cameras, num_instances=4, rng=np.random.default_rng(2))
        other = identity_pass(labels, cameras, num_instances=4, rng=np.random.default_rng(2), tracks=tracks)
        np.testing.assert_array_equal(one, other)
