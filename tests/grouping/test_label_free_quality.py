"""Figures without labels against slow, dense ways of computing the same, and what they say of known cases."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from sklearn.metrics import silhouette_score

from spcl.grouping.label_free_quality import (
    ClusteringSettings,
    effective_dimensions,
    found_again,
    half_agreement,
    label_free_quality,
    mutual_neighbours,
    scale_stability,
    silhouette,
)
from spcl.grouping.silhouette import silhouettes
from spcl.selfpaced.pseudo_labels import pseudo_labels
from tests.selfpaced.test_pseudo_labels import groups


def noise(num: int, dim: int, seed: int = 0) -> np.ndarray:
    rows = np.random.default_rng(seed).standard_normal((num, dim)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.parametrize("seed", range(4))
def test_silhouette_equals_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    rows = noise(60, 8, seed)
    labels = rng.integers(-1, 5, 60)
    labels[7] = 5  # a cluster of one scores 0
    clustered = labels >= 0
    expected = silhouette_score(rows[clustered], labels[clustered], metric="cosine")
    assert silhouette(rows, labels) == pytest.approx(expected, abs=1e-6)


def test_silhouette_of_a_sample_of_many_images():
    rows = groups(np.random.default_rng(0), [40] * 10)
    labels = np.repeat(np.arange(10), 40)
    whole = silhouette(rows, labels)
    sample = silhouette(rows, labels, max_products=100 * 10 * rows.shape[1])
    assert sample != whole
    assert sample == pytest.approx(whole, abs=0.05)
    assert sample == silhouette(rows, labels, max_products=100 * 10 * rows.shape[1])


def test_silhouettes_do_not_depend_on_the_blocks():
    rng = np.random.default_rng(4)
    rows = np.repeat(rng.standard_normal((40, 8)), 5, axis=0) + rng.standard_normal((200, 8))
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    members = rng.permutation(200)[:180]
    own = rng.integers(0, 40, 180)
    own[:40] = np.arange(40)
    whole = silhouettes(rows, members, own)
    for block_bytes in (1, 8 * 180 * 7):
        np.testing.assert_allclose(silhouettes(rows, members, own, block_bytes=block_bytes), whole, atol=1e-12)
    some = np.array([3, 170, 9])
    np.testing.assert_allclose(silhouettes(rows, members, own, chosen=some), whole[some], atol=1e-12)


def test_silhouettes_of_many_clusters_take_memory_for_their_means_alone():
    num, dim = 24_000, 16
    rows = np.zeros((num, dim), dtype=np.float32)
    rows[np.arange(num), np.arange(num) % dim] = 1
    tracemalloc.start()
    try:
        silhouettes(rows, np.arange(num), np.arange(num) // 3)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # A block of images times all 8,000 clusters would be 65 MB, and was held twice for four times as many images.
    assert peak < 45 * 2**20


@pytest.mark.parametrize("labels", [[-1] * 6, [0] * 6, [0, 0, 0, -1, -1, -1]])
def test_no_silhouette_without_two_clusters(labels):
    assert silhouette(noise(6, 4), np.array(labels)) is None


def test_silhouette_of_identical_images_in_two_clusters():
    assert silhouette(np.ones((4, 1), dtype=np.float32), np.array([0, 0, 1, 1])) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("cameras", [None, "some unknown", "all known"])
def test_mutual_neighbours_equal_the_loop(cameras):
    rng = np.random.default_rng(3)
    near = np.argsort(-(noise(40, 5) @ noise(40, 5).T), axis=1)[:, 1:7]
    numbers = None if cameras is None else rng.integers(-1 if cameras == "some unknown" else 0, 3, 40)
    mutual = [(i, j) for i in range(40) for j in near[i] if i in near[j]]
    share, across = mutual_neighbours(near, numbers)
    assert share == pytest.approx(len(mutual) / near.size)
    if numbers is None:
        assert across is None
        return
    known = [i for i in range(40) if numbers[i] >= 0]
    pairs = [(i, j) for i, j in mutual if i in known and j in known]
    chance = {i: np.mean([numbers[i] != numbers[j] for j in known if j != i]) for i in known}
    expected = np.mean([numbers[i] != numbers[j] for i, j in pairs]) / np.mean([chance[i] for i, _ in pairs])
    assert across == pytest.approx(expected)


def test_cameras_by_hand():
    # Two objects by two cameras, two images each; every image's three nearest are its object's others.
    near = np.array([[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2], [5, 6, 7], [4, 6, 7], [4, 5, 7], [4, 5, 6]])
    cameras = np.array([0, 0, 1, 1, 0, 0, 1, 1])
    # Two of three neighbours are by the other camera; by chance it would be four of seven.
    assert mutual_neighbours(near, cameras) == pytest.approx((1.0, (2 / 3) / (4 / 7)))
    own_camera = np.array([[1], [0], [3], [2], [5], [4], [7], [6]])
    assert mutual_neighbours(own_camera, cameras) == (1.0, 0.0)
    assert mutual_neighbours(own_camera, np.zeros(8, dtype=np.int64)) == (1.0, None)
    assert mutual_neighbours(own_camera, np.full(8, -1)) == (1.0, None)
    one_way = np.array([[1], [2], [3], [0]])
    assert mutual_neighbours(one_way, np.array([0, 1, 0, 1])) == (0.0, None)


def test_half_agreement_equals_the_loop():
    rows = groups(np.random.default_rng(1), [6] * 5, dim=12, spread=0.5)
    near = []
    for columns in (rows[:, 0::2], rows[:, 1::2]):
        unit = columns / np.linalg.norm(columns, axis=1, keepdims=True)
        near.append([set(np.argsort(-(unit @ row), kind="stable")[:5]) - {i} for i, row in enumerate(unit)])
    shares = [len(first & second) / 4 for first, second in zip(*near, strict=True)]
    assert half_agreement(rows, k=4) == pytest.approx((np.mean(shares) - 4 / 29) / (1 - 4 / 29))


def test_half_agreement_tells_structure_from_noise():
    clear = groups(np.random.default_rng(0), [12] * 8, dim=64, spread=0.1)
    faint = groups(np.random.default_rng(0), [12] * 8, dim=64, spread=1.0)
    unstructured = noise(96, 64)
    assert half_agreement(clear) > half_agreement(faint) + 0.1 > 0.2
    assert abs(half_agreement(unstructured)) < 0.1
    assert half_agreement(np.ones((5, 1), dtype=np.float32)) == 0.0


def test_found_again_by_hand():
    rows = np.eye(5, dtype=np.float32)
    # 0 and 1 are each other's neighbours; 2 names 3, which does not name it; 4 names nobody that names it.
    near = np.array([[1], [0], [3], [4], [2]])
    copies = rows[[0, 0, 3, 3, 2]]  # itself, its like, one-sided, itself, a stranger
    assert found_again(rows, copies, near) == pytest.approx(3 / 5)
    assert found_again(rows, rows, near) == 1.0


def test_a_collapsed_encoder_finds_nothing_again():
    same = np.ones((40, 1), dtype=np.float32)
    nothing = np.zeros((40, 3), dtype=np.float32)
    line = np.tile(np.array([[1, 0]], dtype=np.float32), (40, 1)) + 0.01 * noise(40, 2)
    for rows, copies in ((same, same), (nothing, nothing), (line, line + 0.05 * noise(40, 2, seed=1))):
        assert label_free_quality(rows, altered=copies, clustering=ClusteringSettings(k1=8, k2=3)).found_again < 0.3


def test_scale_stability():
    clear = pseudo_labels(groups(np.random.default_rng(0), [8] * 5), k1=8, k2=3)
    assert scale_stability(clear) == 1.0
    assert scale_stability(pseudo_labels(noise(12, 40), k1=3, k2=1, eps=0.1)) is None


def test_effective_dimensions():
    assert effective_dimensions(np.ones((6, 3), dtype=np.float32)) == 1.0
    line = np.array([[1, 0], [-1, 0], [1, 0], [-1, 0]], dtype=np.float32)
    assert effective_dimensions(line) == pytest.approx(1.0)
    cross = np.array([[1, 0], [-1, 0], [0, 1], [0, -1]], dtype=np.float32)
    assert effective_dimensions(cross) == pytest.approx(2.0)
    wide = noise(10, 40)
    singular = np.linalg.svd(wide - wide.mean(axis=0), compute_uv=False)
    shares = singular / singular.sum()
    shares = shares[shares > 1e-7]
    assert effective_dimensions(wide) == pytest.approx(np.exp(-(shares * np.log(shares)).sum()), rel=1e-3)


def test_all_figures_of_clear_groups_and_of_none():
    rows = groups(np.random.default_rng(0), [8] * 6, dim=32)
    before = rows.copy()
    found = label_free_quality(rows, np.tile([0, 1], 24), k=5, clustering=ClusteringSettings(k1=8, k2=3))
    assert (found.num_images, found.num_clusters, found.share_clustered, found.scale_stability) == (48, 6, 1.0, 1.0)
    assert found.silhouette > 0.5
    assert found.half_agreement > 0.4
    assert found.mutual_neighbours > 0.5
    assert found.across_cameras == pytest.approx(4 / 7 / (24 / 47), rel=0.15)
    np.testing.assert_array_equal(rows, before)
    nothing = label_free_quality(noise(30, 60), clustering=ClusteringSettings(k1=3, k2=1, eps=0.1))
    assert (nothing.num_clusters, nothing.share_clustered) == (0, 0.0)
    assert (nothing.scale_stability, nothing.silhouette, nothing.across_cameras) == (None, None, None)
    assert nothing.found_again is None
    assert label_free_quality(rows, altered=rows, clustering=ClusteringSettings(k1=8, k2=3)).found_again == 1.0
    assert set(nothing.to_dict()) == set(found.to_dict())


@pytest.mark.parametrize("num", [2, 3, 9])
def test_fewer_images_than_neighbours(num):
    found = label_free_quality(noise(num, 4), np.arange(num) % 2)
    assert found.num_images == num
    assert np.isfinite(found.half_agreement)
    assert found.mutual_neighbours == 1.0


def test_one_image_is_refused():
    with pytest.raises(ValueError, match="1 images; at least 2"):
        label_free_quality(noise(1, 4))
