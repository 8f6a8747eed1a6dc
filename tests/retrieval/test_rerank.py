"""Re-ranking through the sparse code equals the official dense one."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from spcl.retrieval import rerank as module
from spcl.retrieval.rerank import rerank
from tests.oracles.dense_ranking import dense_rerank
from tests.shared import shared_path


def unit_rows(seed: int, num: int) -> np.ndarray:
    rows = np.random.default_rng(seed).standard_normal((num, 8)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_reference_arrays():
    arrays = np.load(shared_path("reference", "ranking.npz"))
    found = rerank(arrays["query"], arrays["gallery"])
    assert np.abs(found - arrays["reranked"]).max() <= 1e-5


@pytest.mark.parametrize(("k1", "k2", "share"), [(20, 6, 0.3), (7, 3, 0.0), (5, 1, 1.0), (60, 6, 0.3)])
def test_equals_the_dense_way(k1, k2, share, monkeypatch):
    query, gallery = unit_rows(0, 11), unit_rows(1, 45)
    expected = dense_rerank(query, gallery, k1, k2, share)
    for block_bytes in (module._BLOCK_BYTES, 500):
        monkeypatch.setattr(module, "_BLOCK_BYTES", block_bytes)
        np.testing.assert_allclose(rerank(query, gallery, k1=k1, k2=k2, lambda_value=share), expected, atol=1e-5)


def test_kinds_of_input_agree_and_stay_untouched():
    query, gallery = unit_rows(2, 5), unit_rows(3, 30)
    before = query.copy(), gallery.copy()
    expected = rerank(query, gallery, k1=6)
    assert expected.dtype == np.float32
    np.testing.assert_array_equal(rerank(torch.from_numpy(query), torch.from_numpy(gallery), k1=6), expected)
    np.testing.assert_array_equal(rerank(query.astype(np.float64), gallery.astype(np.float64), k1=6), expected)
    assert np.array_equal(query, before[0])
    assert np.array_equal(gallery, before[1])


def test_images_that_are_all_near_are_measured_by_their_largest_distance():
    near = unit_rows(4, 40) * 0.2 + np.array([1, *[0] * 7], dtype=np.float32)
    near /= np.linalg.norm(near, axis=1, keepdims=True)
    assert (2 - 2 * near @ near.T).max() < 0.9
    expected = dense_rerank(near[:8], near[8:], 6, 3, 0.5)
    np.testing.assert_allclose(rerank(near[:8], near[8:], k1=6, k2=3, lambda_value=0.5), expected, atol=1e-5)


def test_identical_images():
    same = np.tile(np.array([[1, 0]], dtype=np.float32), (30, 1))
    assert np.isfinite(rerank(same[:3], same, k1=5)).all()


@pytest.mark.parametrize(
    ("changed", "message"), [({"lambda_value": 1.5}, "lambda_value is 1.5"), ({"k1": 0}, "k1 is 0")]
)
def test_settings_out_of_range_are_named(changed, message):
    with pytest.raises(ValueError, match=message):
        rerank(unit_rows(0, 3), unit_rows(1, 9), **changed)


def test_lengths_must_agree():
    with pytest.raises(ValueError, match="query has 8 columns, gallery 2"):
        rerank(unit_rows(0, 3), np.eye(2, dtype=np.float32))
