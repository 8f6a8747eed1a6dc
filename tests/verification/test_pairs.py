"""Pairs of one group and of two."""

from __future__ import annotations

import numpy as np

from spcl.verification.pairs import different_pairs, pair_similarities, same_pairs

GROUPS = np.array([0, 0, 0, 1, 1, 2, -1, -1])
NO_CAMERA = np.full(8, -1)


def as_set(pairs):
    return {tuple(pair) for pair in pairs.tolist()}


def test_small_sets_are_complete():
    same = as_set(same_pairs(GROUPS, NO_CAMERA, most=1000, rng=np.random.default_rng(0)))
    assert same == {(0, 1), (0, 2), (1, 2), (3, 4)}
    different = as_set(different_pairs(GROUPS, most=1000, rng=np.random.default_rng(0)))
    every = {(i, j) for i in range(6) for j in range(i + 1, 6)}
    assert different == every - same


def test_other_cameras_where_there_are_any():
    cameras = np.array([0, 0, 1, 1, 1, 0, 0, 1])
    assert as_set(same_pairs(GROUPS, cameras, most=1000, rng=np.random.default_rng(0))) == {(0, 2), (1, 2)}
    assert len(same_pairs(GROUPS, np.zeros(8, dtype=int), most=1000, rng=np.random.default_rng(0))) == 4


def test_a_few_pairs_of_two_cameras_do_not_stand_for_all():
    groups, cameras = np.repeat(np.arange(60), 10), np.zeros(600, dtype=np.int64)
    cameras[0] = 1
    pairs = same_pairs(groups, cameras, most=100_000, rng=np.random.default_rng(0))
    assert len(pairs) == 60 * 45
    cameras[groups < 20] = np.tile([0, 1], 100)
    pairs = same_pairs(groups, cameras, most=100_000, rng=np.random.default_rng(0))
    assert len(pairs) == 20 * 25
    assert (cameras[pairs[:, 0]] != cameras[pairs[:, 1]]).all()


def test_as_many_as_asked_for_and_each_once():
    groups = np.repeat(np.arange(30), 20)
    for pairs in (
        same_pairs(groups, np.full(600, -1), most=500, rng=np.random.default_rng(1)),
        different_pairs(groups, most=500, rng=np.random.default_rng(1)),
    ):
        assert len(pairs) == len(as_set(pairs)) == 500
        assert (pairs[:, 0] < pairs[:, 1]).all()


def test_a_large_group_counts_by_its_images_not_by_its_square():
    groups = np.concatenate([np.zeros(100, dtype=int), 1 + np.arange(100) // 2])
    pairs = same_pairs(groups, np.full(200, -1), most=2000, rng=np.random.default_rng(0))
    # 100 images in pairs of two have 50 pairs, and all are drawn.
    assert (groups[pairs[:, 0]] > 0).sum() == 50


def test_nothing_to_pair():
    rng = np.random.default_rng(0)
    assert same_pairs(np.arange(4), np.full(4, -1), most=10, rng=rng).shape == (0, 2)
    assert different_pairs(np.zeros(4, dtype=int), most=10, rng=rng).shape == (0, 2)
    assert different_pairs(np.empty(0, dtype=int), most=10, rng=rng).shape == (0, 2)
    assert same_pairs(GROUPS, NO_CAMERA, most=0, rng=rng).shape == (0, 2)


def test_similarities():
    features = np.eye(3, dtype=np.float32)
    assert pair_similarities(features, np.array([[0, 1], [2, 2]])).tolist() == [0.0, 1.0]
