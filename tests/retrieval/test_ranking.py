"""Ranking: equal to sorting everything, exact about ties, bounded in memory."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spcl.retrieval.matches import RankingLabels
from spcl.retrieval.ranking import average_results, rank_features, rank_metrics
from spcl.retrieval.top_gallery import top_gallery
from tests.oracles.dense_ranking import rank_by_sorting
from tests.shared import shared_path


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    sizes=st.tuples(st.integers(1, 12), st.integers(1, 40)),
    identities=st.integers(1, 6),
    cameras=st.integers(1, 4),
    levels=st.sampled_from([3, 10**6]),
)
def test_equals_sorting_everything(seed, sizes, identities, cameras, levels):
    rng = np.random.default_rng(seed)
    distance = rng.integers(0, levels, sizes) / levels
    labels = [rng.integers(0, identities, size) for size in sizes] + [rng.integers(0, cameras, size) for size in sizes]
    mean_ap, cmc, precision = rank_by_sorting(distance, *labels, 10)
    if np.isnan(precision).all():
        with pytest.raises(ValueError, match="has a match"):
            rank_metrics(distance, *labels, max_rank=10)
        return
    for array in (distance, distance.astype(np.float32), torch.from_numpy(distance)):
        result = rank_metrics(array, *labels, max_rank=10)
        np.testing.assert_allclose(result.per_query_ap, precision, atol=1e-12)
        np.testing.assert_allclose(result.cmc, cmc, atol=1e-12)
        assert result.mean_ap == pytest.approx(mean_ap)
        assert result.num_valid_queries == (~np.isnan(precision)).sum()


def test_reference_arrays():
    arrays = np.load(shared_path("reference", "ranking.npz"))
    labels = [arrays[name] for name in ("query_ids", "gallery_ids", "query_cams", "gallery_cams")]
    for prefix, distance in (("", "distance"), ("reranked_", "reranked")):
        result = rank_metrics(arrays[distance], *labels)
        assert result.mean_ap == pytest.approx(float(arrays[f"{prefix}mean_ap"]), abs=1e-12)
        np.testing.assert_allclose(result.cmc, arrays[f"{prefix}cmc"], atol=1e-12)


def test_blocks_of_one_query_equal_the_whole():
    rng = np.random.default_rng(0)
    query, gallery = (rng.standard_normal((num, 6)) for num in (9, 50))
    query, gallery = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (query, gallery))
    labels = rng.integers(0, 5, 9), rng.integers(0, 5, 50), rng.integers(0, 3, 9), rng.integers(0, 3, 50)
    whole = rank_features(query, gallery, RankingLabels.checked(*labels))
    calls = []
    blocks = rank_features(
        query, gallery, RankingLabels.checked(*labels), block_bytes=1, progress=lambda *at: calls.append(at)
    )
    assert np.array_equal(whole.per_query_ap, blocks.per_query_ap, equal_nan=True)
    assert calls[-1] == (9, 9)
    distance = 1 - query.astype(np.float32) @ gallery.T.astype(np.float32)
    assert whole.mean_ap == pytest.approx(rank_metrics(distance, *labels).mean_ap)


def test_an_unknown_identity_matches_nothing():
    # Query 0 is unknown and is left out. Query 1 meets an unknown image first, which is wrong, then its match.
    distance = [[0.0, 0.1, 0.2], [0.1, 0.3, 0.2]]
    cases = [(None, None, "no-camera"), ([0, 0], [1, 1, 1], "market1501"), ([0, 0], [0, 1, 1], "market1501")]
    for query_cameras, gallery_cameras, protocol in cases:
        found = rank_metrics(distance, [-1, 7], [-1, 7, 8], query_cameras, gallery_cameras, protocol=protocol)
        # The unknown image, the one of another identity, the match: precision 1/3.
        assert found.mean_ap == pytest.approx(1 / 3)
        assert (found.num_valid_queries, found.top(1), found.top(3)) == (1, 0.0, 1.0)
        assert np.isnan(found.per_query_ap[0])
        assert found.num_matches.tolist() == [0, 1]
    with pytest.raises(ValueError, match="none of the 2 queries has a match"):
        rank_metrics([[0.1], [0.2]], [-1, -1], [-1], protocol="no-camera")


def test_by_hand():
    # Nearest is the query's own camera and is left out; then a wrong one, then the match: precision 1/2.
    result = rank_metrics([[0.0, 0.1, 0.2]], [5], [5, 6, 5], [0], [0, 1, 1], max_rank=3)
    assert result.mean_ap == 0.5
    assert result.cmc.tolist() == [0, 1, 1]
    assert result.top(1) == 0
    # Without cameras the first counts: precision (1 + 2/3) / 2.
    free = rank_metrics([[0.0, 0.1, 0.2]], [5], [5, 6, 5], max_rank=3, protocol="no-camera")
    assert free.mean_ap == pytest.approx(5 / 6)
    assert free.protocol == "no-camera"


def test_input_is_untouched():
    distance = np.random.default_rng(0).random((3, 5))
    before = distance.copy()
    rank_metrics(distance, [0, 1, 2], [0, 1, 2, 0, 1], [0] * 3, [1] * 5)
    assert np.array_equal(distance, before)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"protocol": "mars"}, "expected one of market1501"),
        ({"query_cameras": None}, "compares cameras"),
        ({"query_cameras": [-1]}, "some are unknown"),
        ({"gallery_ids": [1, 2], "gallery_cameras": [1, 1]}, "distance has shape"),
        ({"gallery_ids": [1, 2]}, "1 and 3 cameras for 1 queries and 2 gallery"),
        ({"query_ids": [9]}, "none of the 1 queries has a match"),
        ({"query_ids": [0.5]}, "query_ids are of float64; expected whole numbers"),
        ({"max_rank": 0}, "max_rank is 0"),
    ],
)
def test_bad_input_is_named(changed, message):
    values = {"query_ids": [0], "gallery_ids": [0, 1, 0], "query_cameras": [0], "gallery_cameras": [1, 1, 1]}
    with pytest.raises(ValueError, match=message):
        rank_metrics([[0.1, 0.2, 0.3]], **(values | changed))


def test_draws_are_averaged():
    results = [rank_metrics([[0.1, 0.2]], [0], ids, max_rank=2, protocol="vehicleid") for ids in ([0, 1], [1, 0])]
    mean = average_results(results)
    assert mean.mean_ap == pytest.approx(0.75)
    assert mean.cmc.tolist() == [0.5, 1.0]


def test_top_gallery_leaves_out_what_the_protocol_leaves_out():
    gallery = np.eye(4, dtype=np.float32)
    query = np.array([[4, 3, 2, 1]], dtype=np.float32)
    found = top_gallery(query, gallery, RankingLabels.checked([7], [7, 7, 8, 7], [0], [0, 1, 0, 0]), k=4)
    assert found.rows.tolist() == [[1, 2, -1, -1]]
    np.testing.assert_array_equal(found.similarities, np.array([[3, 2, np.nan, np.nan]], dtype=np.float32))
    free = top_gallery(query, gallery, RankingLabels.checked([7], [7, 7, 8, 7], protocol="no-camera"), k=3)
    assert free.rows.tolist() == [[0, 1, 2]]
    assert free.similarities.tolist() == [[4, 3, 2]]
    few = top_gallery(query, gallery[:2], RankingLabels.checked([7], [8, 8], protocol="no-camera"), k=3)
    assert few.rows.tolist() == [[0, 1, -1]]


def test_the_first_match_and_the_number_of_matches_of_each_query():
    distance = [[0.4, 0.1, 0.3, 0.2, 0.5]] * 4
    cameras = [0, 1, 0, 1, 1]
    result = rank_metrics(distance, [7, 7, 8, 9], [7, 7, 8, 8, 7], [0, 1, 0, 0], cameras)
    # By hand: the query's own identity in its own camera is left out before ranks are counted.
    assert result.first_match.tolist() == [1, 3, 2, 0]
    assert result.num_matches.tolist() == [2, 1, 1, 0]
    free = rank_metrics(distance, [7, 7, 8, 9], [7, 7, 8, 8, 7], protocol="no-camera")
    assert free.first_match.tolist() == [1, 1, 2, 0]
    assert free.num_matches.tolist() == [3, 3, 2, 0]
    np.testing.assert_array_equal(result.first_match == 0, np.isnan(result.per_query_ap))


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_half_precision_is_rated_as_its_values_are(kind):
    distance = torch.rand(7, 30, generator=torch.Generator().manual_seed(0)).to(kind)
    labels = (np.arange(7) % 3, np.arange(30) % 3, np.zeros(7, int), np.ones(30, int))
    expected = rank_metrics(distance.double().numpy(), *labels)
    for half in (distance, distance.numpy() if kind == torch.float16 else distance.float().numpy()):
        found = rank_metrics(half, *labels)
        assert np.array_equal(found.per_query_ap, expected.per_query_ap)
        assert np.array_equal(found.cmc, expected.cmc)


def test_what_is_no_number_is_named():
    distance = np.random.default_rng(0).random((7, 30))
    distance[4, 2] = np.nan
    with pytest.raises(ValueError, match="NaN, first for query 4"):
        rank_metrics(distance, np.arange(7) % 3, np.arange(30) % 3, np.zeros(7, int), np.ones(30, int))
