"""The rating of clusters without identities: silhouette as scikit-learn's; halves of clear objects are rated lower."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import silhouette_samples

from spcl.grouping.cluster_rating import cluster_rating, mean_silhouette, without_mean
from spcl.grouping.eps_curve import coherence


def objects(num: int, images: int, noise: float, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    rows = np.repeat(rng.normal(size=(num, 24)), images, axis=0) + noise * rng.normal(size=(num * images, 24))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def nearest(rows: np.ndarray, k: int = 4) -> np.ndarray:
    return np.argsort(-(rows @ rows.T), axis=1, kind="stable")[:, :k]


def test_the_silhouette_equals_that_of_scikit_learn_with_images_alone_as_0():
    rows, rng = without_mean(objects(6, 8, 0.8)), np.random.default_rng(1)
    labels = rng.integers(-1, 6, size=len(rows))
    clustered = labels >= 0
    theirs = silhouette_samples(rows[clustered], labels[clustered], metric="cosine")
    assert mean_silhouette(labels, rows) == pytest.approx(theirs.sum() / len(rows), abs=1e-5)
    assert mean_silhouette(labels, rows, most_images=20) == pytest.approx(theirs.sum() / len(rows), abs=0.15)


def test_the_rating_is_its_equation():
    rows = objects(6, 8, 0.8)
    labels, links, centred = np.repeat(np.arange(6), 8), nearest(rows), without_mean(rows)
    expected = coherence(labels, links, pairs_weight=6.0) + 4 * mean_silhouette(labels, centred) ** 3
    assert cluster_rating(labels, links, centred) == pytest.approx(expected)


def test_halves_of_clear_objects_are_rated_lower_although_their_links_are_as_good():
    rows = objects(8, 30, 0.6)
    # Each object is two places nearby, so that the nearest images of an image are in its half.
    halves = np.arange(240) // 15
    rows += 0.1 * np.random.default_rng(5).normal(size=(16, 24)).astype(np.float32)[halves]
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    links, centred = nearest(rows), without_mean(rows)
    whole = np.arange(240) // 30
    assert coherence(halves, links, pairs_weight=6.0) > coherence(whole, links, pairs_weight=6.0)
    assert cluster_rating(halves, links, centred) < cluster_rating(whole, links, centred)


def test_without_two_clusters_the_silhouette_is_0_and_input_stays():
    rows = objects(3, 4, 0.5)
    before = rows.copy()
    centred = without_mean(torch.from_numpy(rows))
    assert np.array_equal(rows, before) and np.array_equal(centred, without_mean(rows))
    np.testing.assert_allclose(np.linalg.norm(centred, axis=1), 1, rtol=1e-5)
    for labels in (np.full(12, -1), np.zeros(12, dtype=np.int64)):
        assert mean_silhouette(labels, centred) == 0
    assert mean_silhouette(np.empty(0, dtype=np.int64), without_mean(np.empty((0, 4)))) == 0
    assert not without_mean(np.ones((2, 4), dtype=np.float32)).any()
