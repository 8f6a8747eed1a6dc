"""Features without the mean of their camera: as a plain loop computes them, few images, unknown cameras."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import adjusted_rand_score

from spcl.grouping.average_linkage import average_linkage, cut
from spcl.retrieval.camera_centring import camera_centred
from spcl.retrieval.jaccard import jaccard_distance


def unit(*shape, seed=0):
    rows = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.parametrize("shrinkage", [0.5, 8.0])
def test_equals_a_plain_loop(shrinkage):
    rows, cameras = unit(60, 8), np.random.default_rng(1).integers(-1, 3, 60)
    before = rows.copy()
    found = camera_centred(rows, cameras, shrinkage=shrinkage).numpy()
    for row, camera, ours in zip(rows, cameras, found, strict=True):
        mine = rows[cameras == camera]
        mean = (mine.sum(axis=0) + shrinkage * rows.mean(axis=0)) / (len(mine) + shrinkage)
        np.testing.assert_allclose(ours, (row - mean) / np.linalg.norm(row - mean), atol=1e-5)
    assert np.array_equal(rows, before)
    assert torch.equal(camera_centred(torch.from_numpy(rows), cameras, shrinkage=shrinkage), torch.from_numpy(found))


def test_half_precision_is_computed_in_single():
    found = camera_centred(torch.from_numpy(unit(20, 8)).half(), np.arange(20) % 2)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.norm(dim=1), torch.ones(20))


def test_rows_without_a_direction_stay_as_they_were():
    rows = np.tile(np.array([[0.6, 0.8]], dtype=np.float32), (4, 1))
    for cameras in ([0, 0, 1, 1], [-1, -1, -1, -1], [0, 1, 2, -1]):
        assert np.array_equal(camera_centred(rows, np.array(cameras)).numpy(), rows)
    assert camera_centred(np.zeros((0, 3), np.float32), np.empty(0, np.int64)).shape == (0, 3)


def test_wrong_settings():
    with pytest.raises(ValueError, match="cameras have shape"):
        camera_centred(unit(4, 3), np.zeros(3, np.int64))
    with pytest.raises(ValueError, match="shrinkage is 0"):
        camera_centred(unit(4, 3), np.zeros(4, np.int64), shrinkage=0)


def test_objects_are_found_across_cameras_that_look_different():
    rng = np.random.default_rng(1)
    objects, cameras = np.repeat(np.arange(12), 12), np.tile(np.repeat(np.arange(3), 4), 12)
    rows = rng.normal(size=(12, 24))[objects] + 1.1 * rng.normal(size=(3, 24))[cameras]
    rows = (rows + 0.35 * rng.normal(size=(144, 24))).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    scores = []
    for features in (rows, camera_centred(rows, cameras)):
        merges = average_linkage(jaccard_distance(features, k1=12, k2=4, cutoff=0.99))
        scores.append(max(adjusted_rand_score(objects, cut(merges, at)) for at in (0.5, 0.6, 0.7, 0.8, 0.9)))
    assert scores[1] > scores[0] + 0.1
