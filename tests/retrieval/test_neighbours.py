"""The neighbour search: exact, tie-stable, the row itself first; every engine gives the same answer."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from spcl.retrieval import neighbours as module
from spcl.retrieval.neighbours import nearest_neighbours


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
    on_any_device = module._search_itself_topk(torch.from_numpy(features), min(k, num), block, None)
    assert np.array_equal(on_any_device.indices, indices)
    assert np.array_equal(on_any_device.similarities, similarities)


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
    monkeypatch.setattr(module, "_COLUMNS_AT_ONCE", 64)
    found = nearest_neighbours(features, 9, queries=features[:50] + 0.01)
    assert np.array_equal(found.indices, brute_force(features, 9, features[:50] + 0.01)[0])


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
        (np.array([[1, 0], [np.nan, 1]], dtype=np.float32), 1, "not finite, first in row 1"),
    ],
)
def test_bad_input_is_named(features, k, message):
    with pytest.raises(ValueError, match=message):
        nearest_neighbours(features, k)


def test_an_empty_set_has_no_neighbours():
    assert nearest_neighbours(np.empty((0, 4), dtype=np.float32), 3).indices.shape == (0, 0)
