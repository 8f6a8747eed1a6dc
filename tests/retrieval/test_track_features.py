import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spcl.retrieval.track_features import track_features, track_similarities


def unit(rows):
    rows = np.asarray(rows, dtype=np.float32)
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def fused_one(rows, quality):
    """The oracle: one track, from the formula, with loops."""
    agreement = []
    for i in range(len(rows)):
        others = [j for j in range(len(rows)) if j != i]
        total = sum(quality[j] for j in others)
        agreement.append(sum(quality[j] * float(rows[i] @ rows[j]) for j in others) / total if others else 1.0)
    middle = np.median(agreement)
    weights = np.array(quality, dtype=float)
    if len(rows) >= 3 and middle > 0:
        weights = weights * np.clip(np.array(agreement) / middle, 0, 1) ** 2
    return unit((weights[:, None] * rows).sum(0)), weights / weights.sum()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 6), st.booleans())
def test_equal_to_the_formula_for_any_order_of_images(seed, num, is_weighted):
    rng = np.random.default_rng(seed)
    tracks = np.concatenate([np.arange(num), rng.integers(0, num, 12)])
    rng.shuffle(tracks)
    features = unit(rng.normal(0.5, 1, (len(tracks), 5)))
    quality = rng.uniform(0.1, 1, len(tracks)) if is_weighted else None
    before = features.copy()
    found = track_features(features, tracks, quality)
    for track in range(num):
        rows = tracks == track
        expected, weights = fused_one(features[rows], np.ones(rows.sum()) if quality is None else quality[rows])
        np.testing.assert_allclose(found.features[track], expected, atol=1e-5)
        np.testing.assert_allclose(found.weights[rows], weights, atol=1e-6)
        assert tracks[found.best[track]] == track
        assert found.weights[found.best[track]] == found.weights[rows].max()
    np.testing.assert_array_equal(features, before)


def test_one_wrong_crop_hardly_moves_the_feature():
    rng = np.random.default_rng(0)
    good, wrong = unit(rng.normal(size=64)), unit(rng.normal(size=64))
    for num in (3, 5, 8):
        crops = unit(good + 0.04 * rng.normal(size=(num, 64)))
        clean = track_features(crops, np.zeros(num, dtype=np.int64)).features[0]
        crops[1] = wrong
        found = track_features(crops, np.zeros(num, dtype=np.int64))
        mean = unit(crops.mean(0))
        assert found.features[0] @ good > 0.95
        assert 1 - found.features[0] @ clean < 0.3 * (1 - mean @ clean)
        assert found.agreement.argmin() == 1 and found.agreement[1] < 0.6
        assert found.best[0] != 1


def test_without_a_wrong_crop_it_is_nearly_the_mean():
    rng = np.random.default_rng(1)
    crops = unit(unit(rng.normal(size=64)) + 0.08 * rng.normal(size=(8, 64)))
    assert track_features(crops, np.zeros(8, dtype=np.int64)).features[0] @ unit(crops.mean(0)) > 0.999


def test_degenerate_tracks():
    one, other = unit([1, 0]), unit([0, 1])
    found = track_features(np.stack([one, other, one]), np.array([1, 0, 1]))
    np.testing.assert_allclose(found.features, [other, one])
    np.testing.assert_allclose(found.lengths, 1)
    pair = track_features(np.stack([one, other]), np.array([0, 0]), np.array([3.0, 1.0]))
    np.testing.assert_allclose(pair.features[0], unit([3, 1]), atol=1e-6)
    # All images disagree: there is no majority to follow.
    opposite = track_features(np.stack([one, -one, other]), np.zeros(3, dtype=np.int64))
    np.testing.assert_allclose(opposite.features[0], other, atol=1e-6)
    nothing = track_features(np.empty((0, 2), dtype=np.float32), np.empty(0, dtype=np.int64))
    assert nothing.features.shape == (0, 2)


def test_wrong_input():
    rows = unit(np.eye(3))
    with pytest.raises(ValueError, match="as many"):
        track_features(rows, np.array([0, 0]))
    with pytest.raises(ValueError, match="must have an image"):
        track_features(rows, np.array([0, 2, 2]))
    for wrong in (0.0, -1.0, np.nan):
        with pytest.raises(ValueError, match="above 0"):
            track_features(rows, np.array([0, 0, 0]), np.array([1, wrong, 1]))


def test_best_of_by_hand_and_by_loops():
    rng = np.random.default_rng(2)
    queries, gallery = unit(rng.normal(size=(7, 4))), unit(rng.normal(size=(9, 4)))
    query_tracks, gallery_tracks = np.array([1, 0, 1, 2, 0, 0, 1]), np.array([3, 0, 1, 2, 0, 3, 3, 1, 2])
    found = track_similarities(queries, query_tracks, gallery, gallery_tracks)
    for q in range(3):
        for g in range(4):
            pairs = queries[query_tracks == q] @ gallery[gallery_tracks == g].T
            assert found[q, g] == pytest.approx(pairs.max(), abs=1e-6)
