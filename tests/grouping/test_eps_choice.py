"""Suggested settings: found without labels, right where the paper's collapse, and said in words."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import adjusted_rand_score

from spcl.grouping.eps_choice import TRIED_EPS, TRIED_K1, k2_for, searched, suggest
from spcl.grouping.eps_curve import coherence
from spcl.neighbours.nearest import nearest_neighbours
from spcl.selfpaced.clustering import NOISE
from spcl.selfpaced.pseudo_labels import pseudo_labels
from spcl.selfpaced.reliability import singletons_for_noise
from tests.selfpaced.test_pseudo_labels import groups


def agreement(rows: np.ndarray, sizes: list[int], **settings) -> float:
    labels = pseudo_labels(rows, **settings).scales.normal
    return adjusted_rand_score(np.repeat(np.arange(len(sizes)), sizes), singletons_for_noise(labels))


def test_coherence_equals_loops():
    rng = np.random.default_rng(0)
    labels = rng.integers(-1, 4, 40)
    neighbours = np.stack([rng.permutation(40)[:5] for _ in range(40)])
    neighbours[3, 1], neighbours[7, 0] = -1, 7
    classes = [1000 + row if label == NOISE else label for row, label in enumerate(labels.tolist())]
    links = [(row, other) for row in range(40) for other in neighbours[row] if other not in (row, -1)]
    inside = np.mean([classes[row] == classes[other] for row, other in links])
    chance = np.mean([[mine == theirs for theirs in classes] for mine in classes])
    assert coherence(labels, neighbours) == pytest.approx(inside - 2 * chance / (1 + chance))
    assert coherence(np.empty(0, dtype=np.int64), np.empty((0, 3), dtype=np.int64)) == 0


def test_the_curve_tells_what_each_eps_gives():
    rows = groups(np.random.default_rng(1), [9, 12, 7, 10], spread=0.9)
    curve = suggest(rows, k1=12).curve
    assert curve is not None
    assert curve.eps.tolist() == list(TRIED_EPS)
    for at in (0, 8, 16, 26):
        labels = pseudo_labels(rows, k1=12, k2=k2_for(12), eps=float(curve.eps[at])).scales.normal
        sizes = np.bincount(labels[labels != NOISE])
        assert curve.num_clusters[at] == len(sizes)
        assert curve.share_clustered[at] == pytest.approx(sizes.sum() / len(rows))
        assert curve.largest_share[at] == pytest.approx(sizes.max(initial=0) / len(rows))
    assert ((curve.stability >= 0) & (curve.stability <= 1)).all()
    assert curve.coherence[curve.best] == curve.coherence.max()


@pytest.mark.parametrize(("per_object", "smallest", "largest"), [(5, 5, 5), (10, 8, 12), (60, 30, 30)])
def test_k1_follows_the_images_of_an_object(per_object, smallest, largest):
    sizes = [per_object] * 12
    rows = groups(np.random.default_rng(2), sizes, dim=32, spread=0.8)
    found = suggest(rows)
    assert smallest <= found.k1 <= largest
    assert found.k2 == k2_for(found.k1)
    assert agreement(rows, sizes, k1=found.k1, k2=found.k2, eps=found.eps) > 0.9


def test_better_where_the_papers_settings_merge_everything():
    sizes = [6] * 15
    rows = groups(np.random.default_rng(3), sizes, dim=32, spread=0.8)
    found = suggest(rows)
    papers, ours = agreement(rows, sizes), agreement(rows, sizes, k1=found.k1, k2=found.k2, eps=found.eps)
    assert ours > papers + 0.3
    assert ours > 0.85


def test_the_same_for_all_kinds_of_input_and_input_stays():
    rows = groups(np.random.default_rng(4), [8, 9, 10], spread=0.7)
    before = rows.copy()
    expected = suggest(rows)
    neighbours = nearest_neighbours(rows, searched("auto")).indices
    for found in (
        suggest(rows),
        suggest(torch.from_numpy(rows)),
        suggest(rows.astype(np.float64)),
        suggest(rows, neighbours=neighbours),
    ):
        assert (found.eps, found.k1, found.k2, found.reasons) == (
            expected.eps,
            expected.k1,
            expected.k2,
            expected.reasons,
        )
    assert np.array_equal(rows, before)


@pytest.mark.parametrize("num", [0, 1, 2, 3])
def test_too_few_images_say_so(num):
    found = suggest(np.eye(4, dtype=np.float32)[:num])
    assert found.curves == ()
    assert found.curve is None
    assert found.reasons == (f"{num} image(s) cannot form a cluster, which takes 4: nothing was tried",)
    assert (found.eps, found.k1) == (0.6, 5)


def test_noise_is_not_one_cluster():
    noise = np.random.default_rng(0).standard_normal((200, 512)).astype(np.float32)
    found = suggest(noise / np.linalg.norm(noise, axis=1, keepdims=True))
    assert found.curve is not None
    assert found.curve.largest_share[found.curve.best] < 0.3


def test_nothing_clusters_says_so():
    noise = np.random.default_rng(0).standard_normal((200, 512)).astype(np.float32)
    noise /= np.linalg.norm(noise, axis=1, keepdims=True)
    found = suggest(noise, eps=0.05)
    assert (found.eps, found.k1) == (0.05, 30)
    assert found.reasons[0] == "k1 = 30, k2 = 6: no image clusters, so that k1 cannot be chosen"
    assert found.reasons[1].startswith("eps = 0.05 gives no clusters")
    found = suggest(noise, min_samples=25, k1=5)
    assert found.eps == 0.6
    assert found.reasons[1].startswith("no eps from 0.2 to 0.85 gives clusters")


def test_everything_equal_says_so():
    found = suggest(np.tile(np.array([[0.6, 0.8]], dtype=np.float32), (100, 1)))
    assert (found.eps, found.k1, found.k2, found.curves) == (0.6, 30, 6, ())
    assert found.reasons == ("all images are equal: one cluster",)


@pytest.mark.parametrize("num_objects", [2, 3, 5])
def test_a_folder_of_twenty_crops(num_objects):
    sizes = [20 // num_objects] * num_objects
    rows = groups(np.random.default_rng(num_objects), sizes, dim=32, spread=0.4)
    found = suggest(rows)
    assert found.k1 <= 10
    assert agreement(rows, sizes, k1=found.k1, k2=found.k2, eps=found.eps) > 0.9


def test_what_is_given_stays():
    rows = groups(np.random.default_rng(5), [8, 9, 10], spread=0.7)
    found = suggest(rows, eps=0.47)
    assert found.eps == 0.47
    assert found.reasons[1].startswith("eps = 0.47: given; ")
    found = suggest(rows, k1=7, k2=1)
    assert (found.k1, found.k2) == (7, 1)
    assert found.reasons[0] == "k1 = 7, k2 = 1: given"
    assert [curve.k1 for curve in found.curves] == [7]


def test_progress_and_how_many_neighbours_are_needed():
    steps: list[tuple[int, int]] = []
    suggest(groups(np.random.default_rng(6), [40] * 3), progress=lambda done, total: steps.append((done, total)))
    assert steps == [(step, len(TRIED_K1)) for step in range(1, len(TRIED_K1) + 1)]
    assert (searched("auto"), searched(12), searched(2, 4)) == (30, 12, 4)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"eps": 1.0}, "eps is 1.0; it must be a number of at least 0 and below 1"),
        ({"k1": 0}, "k1 is 0; it must be a whole number of at least 1"),
        ({"min_samples": 1}, "min_samples is 1; it must be a whole number of at least 2"),
    ],
)
def test_settings_out_of_range_are_named(changed, message):
    with pytest.raises(ValueError, match=message):
        suggest(np.eye(9, dtype=np.float32), **changed)
