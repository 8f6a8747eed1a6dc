"""Renumbering: an order of all rows, near ones together; rows and columns come back as they were."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_array

from spcl.retrieval import near_order as module
from spcl.retrieval.near_order import by_column, near_order, renumbered, rows_in_order


def random_array(num, density, rng):
    values = rng.random((num, num), dtype=np.float32)
    return csr_array(np.where(rng.random((num, num)) < density, values, np.float32(0)))


def test_every_row_has_one_place_and_neighbours_follow():
    table = np.array([[0, 4], [1, 3], [2, -1], [3, 1], [4, 0]], dtype=np.int32)
    names, places = near_order(np.arange(6) * 2, table.reshape(-1))
    assert names.tolist() == [0, 4, 1, 3, 2]
    assert places[names].tolist() == [0, 1, 2, 3, 4]
    assert renumbered(table, names, places).tolist() == [[0, 1], [1, 0], [2, 3], [3, 2], [4, -1]]


def test_groups_stand_together():
    rng = np.random.default_rng(0)
    group = rng.permutation(np.repeat(np.arange(20), 10))
    members = np.array([np.flatnonzero(group == group[row])[:6] for row in range(200)], dtype=np.int32)
    names, _ = near_order(np.arange(201) * 6, members.reshape(-1))
    assert sorted(names.tolist()) == list(range(200))
    # In a random order 190 of 199 neighbouring places hold rows of different groups.
    assert (np.diff(group[names]) != 0).sum() < 120


def test_rows_in_another_order_and_back():
    rng = np.random.default_rng(1)
    array = random_array(30, 0.2, rng)
    order = rng.permutation(30)
    calls = np.empty(30, dtype=np.int32)
    calls[order] = np.arange(30)
    moved = rows_in_order(array, order, calls, ascending=True)
    assert np.array_equal(moved.toarray(), array.toarray()[order][:, order])
    assert all(np.all(np.diff(moved.indices[a:b]) > 0) for a, b in zip(moved.indptr, moved.indptr[1:], strict=False))
    back = rows_in_order(moved, calls, order.astype(np.int32), ascending=True)
    assert np.array_equal(back.indices, array.indices)
    assert np.array_equal(back.data, array.data)
    # Without sorting, the entries of a row keep their order.
    kept = rows_in_order(array, order, calls)
    assert np.array_equal(kept.data, np.concatenate([array.data[array.indptr[r] : array.indptr[r + 1]] for r in order]))


@pytest.mark.parametrize("num_threads", [1, 3, 100])
@pytest.mark.parametrize("num", [0, 1, 40])
def test_by_column_is_the_transpose_whoever_counts(monkeypatch, num, num_threads):
    monkeypatch.setattr(module, "get_num_threads", lambda: num_threads)
    array = random_array(num, 0.3, np.random.default_rng(2))
    expected = array.tocsc()
    for ours, scipys in zip(by_column(array), (expected.indptr, expected.indices, expected.data), strict=True):
        assert np.array_equal(ours, scipys)
