"""The neighbour search: exact, tie-stable, the row itself first; every engine gives the same answer."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spcl.neighbours import approximate_search, device_search
from spcl.neighbours.nearest import choose_engine, nearest_neighbours, neighbours_and_lowest


def unit_rows(rng: np.random.Generator, num: int, dim: int) -> np.ndarray:
    rows = rng.standard_normal((num, dim)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def integer_rows(rng: np.random.Generator, num: int, dim: int) -> np.ndarray:
    """Small integers: inner products are exact, so ties are real ties in every engine."""
    return rng.integers(-2, 3, (num, dim)).astype(np.float32)


def brute_force(features: np.ndarray, k: int, queries: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    wanted = features if queries is None else queries
    similarity = wanted.astype(np.float64) @ features.T.astype(np.float64)
    order_by = similarity.copy()
    if queries is None:
        np.fill_diagonal(order_by, np.inf)
    indices = np.argsort(-order_by, axis=1, kind="stable")[:, :k]
    return indices, np.take_along_axis(similarity, indices, axis=1)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10**6), num=st.integers(1, 40), k=st.integers(1, 12), block=st.sampled_from([256, 900, 10**6])
)
def test_self_search_equals_brute_force_with_ties(seed, num, k, block):
    features = integer_rows(np.random.default_rng(seed), num, 3)
    indices, similarities = brute_force(features, k)
    found = nearest_neighbours(features, k, block_bytes=block)
    assert np.array_equal(found.indices, indices)
    assert np.array_equal(found.similarities, similarities)
    # The way of other devices, on this one.
    rows = torch.from_numpy(features)
    itself = device_search.search_itself(rows, min(k, num), block, None, None)
    as_queries = device_search.search_queries(rows, rows, min(k, num), block, None, 0)
    for best, places in (itself, as_queries):
        assert np.array_equal(places, indices)
        assert np.array_equal(best[:, 1:], similarities[:, 1:])


def test_blocks_whose_last_stripe_has_one_column():
    features = integer_rows(np.random.default_rng(6), 130, 3)
    indices, similarities = brute_force(features, 5)
    found = nearest_neighbours(features, 5, block_bytes=4 * 65 * 65)  # two blocks of 64 + 1 columns
    assert np.array_equal(found.indices, indices)
    assert np.array_equal(found.similarities, similarities)


def test_rows_find_themselves_in_every_part_of_the_columns(monkeypatch):
    monkeypatch.setattr(device_search, "_COLUMNS_AT_ONCE", 7)
    features = integer_rows(np.random.default_rng(5), 40, 3)
    expected, _ = brute_force(features, 5)
    rows = torch.from_numpy(features)
    for own_from in (0, 16):
        best, places = device_search.search_queries(rows, rows[own_from:], 5, 500, None, own_from)
        assert np.array_equal(places, expected[own_from:])
        assert np.isinf(best[:, 0]).all()


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), num=st.integers(1, 60), k=st.integers(1, 12), block=st.sampled_from([4, 400, 10**6]))
def test_queries_equal_brute_force_with_ties(seed, num, k, block):
    rng = np.random.default_rng(seed)
    features, queries = integer_rows(rng, num, 3), integer_rows(rng, 17, 3)
    indices, similarities = brute_force(features, k, queries)
    found = nearest_neighbours(features, k, queries=queries, block_bytes=block)
    assert np.array_equal(found.indices, indices)
    assert np.array_equal(found.similarities, similarities)


def test_several_blocks_of_columns(monkeypatch):
    features = unit_rows(np.random.default_rng(0), 300, 16)
    monkeypatch.setattr(device_search, "_COLUMNS_AT_ONCE", 64)
    queries = torch.from_numpy(features[:50] + 0.01)
    expected = brute_force(features, 9, features[:50] + 0.01)[0]
    _, places = device_search.search_queries(torch.from_numpy(features), queries, 9, 2**20, None, None)
    assert np.array_equal(places, expected)
    assert np.array_equal(nearest_neighbours(features, 9, queries=queries).indices, expected)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), num=st.integers(1, 60), cut=st.integers(0, 60), block=st.sampled_from([400, 10**6]))
def test_parts_of_a_search_are_the_search(seed, num, cut, block):
    features = integer_rows(np.random.default_rng(seed), num, 3)
    cut = min(cut, num)
    whole = nearest_neighbours(features, 7)
    parts = [nearest_neighbours(features, 7, rows=part, block_bytes=block) for part in (range(cut), range(cut, num))]
    assert np.array_equal(np.concatenate([part.indices for part in parts]), whole.indices)
    assert np.array_equal(np.concatenate([part.similarities for part in parts]), whole.similarities)
    rows = torch.from_numpy(features)
    _, places = device_search.search_queries(rows, rows[cut:], min(7, num), block, None, cut)
    assert np.array_equal(places, whole.indices[cut:])


@pytest.mark.parametrize("block", [4000, 2**20])
def test_the_farthest_row_comes_with_the_neighbours(block):
    features = torch.from_numpy(unit_rows(np.random.default_rng(3), 90, 8))
    found, lowest = neighbours_and_lowest(features, 5, block_bytes=block)
    assert np.array_equal(found.indices, nearest_neighbours(features, 5).indices)
    assert np.allclose(lowest, (features @ features.T).amin(dim=1), atol=1e-6)
    on_any_device = np.empty(90, dtype=np.float32)
    device_search.search_itself(features, 5, block, None, on_any_device)
    assert np.allclose(on_any_device, lowest, atol=1e-6)


def test_faiss_finds_the_same():
    pytest.importorskip("faiss")
    features = unit_rows(np.random.default_rng(4), 500, 24)
    features[7] = features[3]
    for options in ({}, {"rows": range(100, 180)}, {"queries": features[:33]}):
        ours = nearest_neighbours(features, 8, engine="torch", **options)
        theirs = nearest_neighbours(features, 8, engine="faiss", **options)
        assert np.array_equal(ours.indices, theirs.indices)
        assert np.allclose(ours.similarities, theirs.similarities, atol=1e-6)
        assert theirs.engine == "faiss"


def test_faiss_is_asked_for_by_name(monkeypatch):
    monkeypatch.setattr("spcl.neighbours.faiss_search.is_installed", lambda: False)
    with pytest.raises(ModuleNotFoundError, match=r"spcl\[faiss\]"):
        nearest_neighbours(np.eye(3, dtype=np.float32), 2, engine="faiss")


def clustered_rows(num: int) -> np.ndarray:
    rng = np.random.default_rng(5)
    centres = rng.standard_normal((num // 40, 16))
    rows = centres[rng.integers(0, len(centres), num)] + 0.3 * rng.standard_normal((num, 16))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def test_the_approximate_engine_finds_the_same_part_by_part(monkeypatch):
    features = clustered_rows(6000)
    whole = nearest_neighbours(features, 20, engine="approximate")
    monkeypatch.setattr(approximate_search, "VISITS_AT_ONCE", 1)
    monkeypatch.setattr(approximate_search, "_ROWS_AT_ONCE", 700)
    told = []
    parts = nearest_neighbours(features, 20, engine="approximate", progress=lambda *at: told.append(at))
    assert (whole.engine, parts.engine) == ("approximate", "approximate")
    assert np.array_equal(parts.indices, whole.indices)
    assert parts.recall == whole.recall
    assert told == sorted(told)
    assert told[-1][0] == told[-1][1]


def test_the_approximate_engine_finds_most_and_says_how_many():
    features = clustered_rows(6000)
    features[100] = features[5]
    exact = nearest_neighbours(features, 20, engine="torch")
    found = nearest_neighbours(features, 20, engine="approximate")
    true_recall = np.mean([len(np.intersect1d(a, b)) / 20 for a, b in zip(exact.indices, found.indices, strict=True)])
    assert found.engine == "approximate"
    assert true_recall >= 0.95
    assert abs(found.recall - true_recall) < 0.02
    assert np.array_equal(found.indices[:, 0], np.arange(6000))
    present = found.indices >= 0
    similarity = np.einsum("nd,nkd->nk", features, features[found.indices])
    assert np.allclose(found.similarities[present], similarity[present], atol=1e-5)
    assert (np.diff(found.similarities[:, 1:], axis=1) <= 0).all()
    again = nearest_neighbours(features, 20, engine="approximate", rows=range(1000, 1500))
    assert np.array_equal(again.indices, found.indices[1000:1500])


def test_where_regions_do_not_help_the_search_is_exact():
    features = unit_rows(np.random.default_rng(6), 4500, 64)  # no structure: neighbours are anywhere
    found = nearest_neighbours(features, 10, engine="approximate")
    assert (found.engine, found.recall) == ("torch", 1.0)
    assert np.array_equal(found.indices, nearest_neighbours(features, 10).indices)


def test_the_engine_goes_by_size():
    assert choose_engine(30_000, 2048, "cpu") == "torch"
    assert choose_engine(1_000_000, 128, "cpu") == "approximate"
    assert choose_engine(1_000_000, 2048, "cuda") == "torch"
    with pytest.raises(ValueError, match="expected one of auto, torch, faiss, approximate"):
        nearest_neighbours(np.eye(3, dtype=np.float32), 2, engine="annoy")
    with pytest.raises(ValueError, match="searches a set in itself"):
        nearest_neighbours(np.eye(3, dtype=np.float32), 2, engine="approximate", queries=np.eye(3, dtype=np.float32))
    with pytest.raises(ValueError, match="expected consecutive ones from 0 to 3"):
        nearest_neighbours(np.eye(3, dtype=np.float32), 2, rows=range(2, 5))


def test_identical_rows_come_back_with_the_row_itself_first():
    features = np.ones((40, 4), dtype=np.float32) / 2
    found = nearest_neighbours(features, 5)
    assert np.array_equal(found.indices[:, 0], np.arange(40))
    assert found.indices[30].tolist() == [30, 0, 1, 2, 3]


def test_kinds_of_input_agree_and_stay_untouched():
    features = unit_rows(np.random.default_rng(1), 50, 8)
    before = features.copy()
    expected = nearest_neighbours(features, 6).indices
    assert np.array_equal(nearest_neighbours(features.astype(np.float64), 6).indices, expected)
    assert np.array_equal(nearest_neighbours(torch.from_numpy(features), 6).indices, expected)
    assert np.array_equal(features, before)


def test_progress_reaches_its_total():
    calls = []
    nearest_neighbours(
        unit_rows(np.random.default_rng(2), 100, 4), 3, block_bytes=4 * 30 * 30, progress=lambda *at: calls.append(at)
    )
    assert calls[-1][0] == calls[-1][1] == len(calls) > 1


@pytest.mark.parametrize(
    ("features", "k", "message"),
    [
        (np.ones(5, dtype=np.float32), 3, "expected \\[rows, columns\\]"),
        (np.ones((5, 2), dtype=np.float32), 0, "k is 0"),
        (np.array([[1, 0], [np.nan, 1]], dtype=np.float32), 1, r"not finite \(NaN or infinity\): row 1"),
    ],
)
def test_bad_input_is_named(features, k, message):
    with pytest.raises(ValueError, match=message):
        nearest_neighbours(features, k)


def test_an_empty_set_has_no_neighbours():
    assert nearest_neighbours(np.empty((0, 4), dtype=np.float32), 3).indices.shape == (0, 0)
