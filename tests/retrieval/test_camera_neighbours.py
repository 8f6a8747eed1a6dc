"""Neighbours balanced over cameras: as a plain loop chooses them, and a distance that finds objects across cameras."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from spcl.neighbours.nearest import nearest_neighbours
from spcl.retrieval.camera_neighbours import balanced_neighbours


def by_loop(neighbours, cameras, k, num_same):
    chosen = []
    for row, near in enumerate(neighbours):
        same = [n for n in near if n == row or (cameras[n] == cameras[row] and cameras[row] != -1)]
        other = [n for n in near if n not in same]
        taken = same[:num_same] + other[: k - num_same]
        taken += [n for n in near if n not in taken][: k - len(taken)]
        chosen.append([n for n in near if n in taken])
    return np.array(chosen)


@pytest.mark.parametrize(("k", "num_same"), [(6, 2), (8, 1), (5, 5)])
def test_equals_a_plain_loop(k, num_same):
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(60, 8)).astype(np.float32)
    near = nearest_neighbours(rows / np.linalg.norm(rows, axis=1, keepdims=True), 20).indices
    cameras = rng.integers(-1, 3, 60)
    found = balanced_neighbours(near, cameras, k=k, num_same=num_same)
    assert np.array_equal(found, by_loop(near, cameras, k, num_same))


def test_without_cameras_the_nearest_are_kept():
    near = np.array([[0, 1, 2], [1, 2, 0], [2, 1, 0]])
    assert np.array_equal(balanced_neighbours(near, np.full(3, -1), k=2, num_same=1), near[:, :2])


def test_objects_are_found_across_cameras_that_look_different():
    from spcl.grouping.average_linkage import average_linkage, cut
    from spcl.retrieval.jaccard import jaccard_distance

    rng = np.random.default_rng(1)
    objects, cameras = np.repeat(np.arange(12), 12), np.tile(np.repeat(np.arange(3), 4), 12)
    rows = rng.normal(size=(12, 24))[objects] + 1.1 * rng.normal(size=(3, 24))[cameras]
    rows = (rows + 0.35 * rng.normal(size=(144, 24))).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    near = nearest_neighbours(rows, 60).indices
    scores = []
    for chosen in (near[:, :12], balanced_neighbours(near, cameras, k=12, num_same=4)):
        distance = jaccard_distance(rows, k1=12, k2=4, cutoff=0.99, neighbours=chosen)
        merges = average_linkage(distance)
        scores.append(max(adjusted_rand_score(objects, cut(merges, at)) for at in (0.5, 0.6, 0.7, 0.8, 0.9)))
    assert scores[1] > scores[0] + 0.1
