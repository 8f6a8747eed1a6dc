"""The sparse distance equals the dense one, and stores what it should: no more, no less."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from spcl.neighbours.nearest import nearest_neighbours
from spcl.retrieval import jaccard as module
from spcl.retrieval import query_expansion
from spcl.retrieval import reciprocal_sets as sets_module
from spcl.retrieval.jaccard import jaccard_distance, jaccard_of_encoding
from spcl.retrieval.k_reciprocal import k_reciprocal_encoding
from spcl.retrieval.query_expansion import average_over_neighbours
from spcl.retrieval.reciprocal_sets import reciprocal_sets
from tests.oracles.dense_labels import dense_encoding, dense_jaccard, expanded


def rows_with_duplicates(seed: int, num: int, duplicates: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((num, 4)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return np.concatenate([rows, rows[:duplicates]])


sets_of_rows = st.builds(rows_with_duplicates, st.integers(0, 10**6), st.integers(1, 50), st.integers(0, 8))


@settings(max_examples=40, deadline=None)
@given(rows=sets_of_rows, k1=st.integers(1, 25))
def test_expanded_sets_equal_the_definition(rows, k1):
    neighbours = nearest_neighbours(rows, k1 + 1).indices
    indptr, indices = reciprocal_sets(neighbours, k1=k1)
    for row in range(len(rows)):
        assert indices[indptr[row] : indptr[row + 1]].tolist() == expanded(neighbours, row, k1)


@settings(max_examples=40, deadline=None)
@given(
    rows=sets_of_rows,
    k1=st.integers(1, 20),
    k2=st.integers(1, 8),
    cutoff=st.sampled_from([0.0, 0.3, 0.62, 0.9]),
)
def test_equals_the_dense_distance(rows, k1, k2, cutoff):
    neighbours = nearest_neighbours(rows, k1).indices
    dense = dense_jaccard(rows, neighbours, k1, k2)
    sparse = jaccard_distance(rows, k1=k1, k2=k2, cutoff=cutoff, neighbours=neighbours)
    stored = np.zeros(dense.shape, dtype=bool)
    row_of = np.repeat(np.arange(len(rows)), np.diff(sparse.indptr))
    stored[row_of, sparse.indices] = True
    assert np.abs(sparse.data - dense[row_of, sparse.indices]).max(initial=0) <= 2e-6
    # A pair within rounding of the cutoff may be stored or not.
    assert not (stored & (dense > cutoff + 2e-6)).any()
    assert not (~stored & (dense < cutoff - 2e-6)).any()
    assert np.array_equal(stored, stored.T)
    assert (np.diff(sparse.indices)[np.diff(row_of) == 0] > 0).all()


def test_stored_zeros_survive():
    rows = np.tile(np.eye(3, dtype=np.float32), (4, 1))
    distance = jaccard_distance(rows, k1=4, k2=1)
    assert distance.nnz == 3 * 16
    assert (distance.data < 1e-6).all()


def test_the_encoding_sums_to_one():
    rows = rows_with_duplicates(0, 60, 3)
    neighbours = nearest_neighbours(rows, 10).indices
    encoding = k_reciprocal_encoding(rows, neighbours, k1=10, k2=4)
    np.testing.assert_allclose(encoding.toarray(), dense_encoding(rows, neighbours, 10, 4), atol=1e-6)
    np.testing.assert_allclose(encoding.sum(axis=1), 1, atol=1e-5)


def test_small_buffers_give_the_same_bits(monkeypatch):
    """Whatever the pieces that the work is cut into, and whichever way the rows stand."""
    rows = rows_with_duplicates(1, 200, 20)
    neighbours = nearest_neighbours(rows, 20).indices
    whole = k_reciprocal_encoding(rows, neighbours, k1=20, k2=3)
    distance = jaccard_distance(rows, k1=20, k2=3, neighbours=neighbours)
    monkeypatch.setattr(sets_module, "_BUFFER_BYTES", 7 * 4 * 20)
    monkeypatch.setattr(sets_module, "_ROWS_AT_ONCE", 9)
    monkeypatch.setattr(query_expansion, "_ROWS_AT_ONCE", 9)
    pieces = k_reciprocal_encoding(rows, neighbours, k1=20, k2=3)
    again = module.jaccard_of_encoding(pieces, cutoff=0.62)
    for one, other in ((whole, pieces), (distance, again)):
        assert np.array_equal(one.indptr, other.indptr)
        assert np.array_equal(one.indices, other.indices)
        assert np.array_equal(one.data, other.data)


def test_k2_of_one_is_no_average_even_where_the_first_neighbour_is_another():
    rows = np.ones((4, 2), dtype=np.float32) / np.sqrt(2, dtype=np.float32)
    neighbours = np.array([[1, 0], [0, 1], [3, 2], [2, 3]])
    encoding = k_reciprocal_encoding(rows, neighbours, k1=2, k2=1)
    assert average_over_neighbours(encoding, neighbours, k2=1) is encoding


def test_missing_neighbours_are_left_out():
    rows = rows_with_duplicates(1, 20, 0)
    full = nearest_neighbours(rows, 5).indices
    padded = np.concatenate([full, np.full((20, 3), -1)], axis=1)
    expected = jaccard_distance(rows, k1=7, k2=3, neighbours=full)
    found = jaccard_distance(rows, k1=7, k2=3, neighbours=padded)
    assert (expected != found).nnz == 0


def test_rows_in_several_portions_and_growing_buffers(monkeypatch):
    rows = rows_with_duplicates(2, 200, 0)
    expected = jaccard_distance(rows, k1=15, k2=4, cutoff=0.95)
    monkeypatch.setattr(module, "_ROWS_AT_ONCE", 7)
    found = jaccard_distance(rows, k1=15, k2=4, cutoff=0.95)
    assert np.array_equal(expected.indptr, found.indptr)
    assert np.array_equal(expected.indices, found.indices)
    assert np.array_equal(expected.data, found.data)


@pytest.mark.parametrize("cutoff", [1.0, -0.1])
def test_a_cutoff_out_of_range_is_named(cutoff):
    with pytest.raises(ValueError, match="cutoff is"):
        jaccard_distance(np.eye(3, dtype=np.float32), cutoff=cutoff)


@pytest.mark.parametrize("share_of_zeros", [0.3, 0.9, 1.0])
def test_weights_of_zero_are_met_once(share_of_zeros):
    # Weights that underflow leave an overlap at 0: a row that is met must not count as new again and again.
    rng = np.random.default_rng(0)
    num, per_row = 90, 25
    columns = np.concatenate([np.sort(rng.choice(num, per_row, replace=False)) for _ in range(num)])
    weights = rng.random((num, per_row)).astype(np.float32)
    weights[rng.random((num, per_row)) < share_of_zeros] = 0
    weights /= np.maximum(weights.sum(axis=1, keepdims=True), 1e-9)
    encoding = csr_array((weights.ravel(), columns, np.arange(num + 1) * per_row), shape=(num, num))
    dense = encoding.toarray().astype(np.float64)
    common = np.minimum(dense[:, None], dense[None]).sum(axis=2)
    expected = 1 - common / (2 - common)
    found = jaccard_of_encoding(encoding, cutoff=0.95)
    row_of = np.repeat(np.arange(num), np.diff(found.indptr))
    stored = np.zeros((num, num), dtype=bool)
    stored[row_of, found.indices] = True
    assert np.array_equal(stored, expected <= 0.95)
    assert np.abs(found.data - expected[row_of, found.indices]).max(initial=0) <= 2e-6
