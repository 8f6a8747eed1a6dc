"""The estimate of a label stage: which engine, how it grows, what is counted and where."""

from __future__ import annotations

import pytest

from spcl.neighbours.exact_search import BLOCK_BYTES
from spcl.neighbours.memory_estimate import estimate_label_stage


def estimate(num: int, dim: int = 256, k1: int = 30, speed: float = 1e11, **how):
    return estimate_label_stage(num, dim, k1=k1, flops_per_second=speed, **how)


def test_the_engine_is_what_the_search_will_take():
    assert estimate(50_000, 2048).engine == "torch"
    assert estimate(1_000_000, 2048).engine == "approximate"
    assert estimate(1_000_000, 2048, device_type="cuda").engine == "torch"
    assert estimate(1_000_000, 2048, engine="faiss").engine == "faiss"
    assert "every pair" in estimate(50_000).words()
    assert "near regions" in estimate(50_000, engine="approximate").words()


def test_time_grows_with_the_products_and_falls_with_the_speed():
    slow = estimate(200_000, 2048, engine="torch")
    assert slow.seconds == pytest.approx(estimate(400_000, 2048, engine="torch").seconds / 4, rel=0.1)
    assert estimate(200_000, 2048, engine="torch", speed=1e12).seconds < slow.seconds / 3
    # faiss multiplies both halves of the symmetric product.
    assert estimate(200_000, 2048, engine="faiss").seconds > 1.5 * slow.seconds
    assert estimate(200_000, 2048, engine="torch", device_type="cuda").seconds == slow.seconds


def test_memory_counts_the_features_once_and_what_every_neighbour_brings():
    num, dim = 600_000, 2048
    found = estimate(num, dim)
    assert found.device_memory == 0
    assert 4 * num * dim < found.memory < 2 * 4 * num * dim
    wide, narrow = estimate(num, 64, engine="torch"), estimate(num, 32, engine="torch")
    assert wide.memory - narrow.memory == 4 * num * 32
    assert estimate(num, 64, k1=60, engine="torch").memory - wide.memory == pytest.approx(num * 30 * 128, rel=0.01)
    # Fewer images than k1 have fewer neighbours.
    assert estimate(20).memory == estimate(20, k1=20).memory


def test_on_a_device_the_search_needs_the_features_there_too():
    num, dim = 600_000, 2048
    found = estimate(num, dim, engine="torch", device_type="cuda")
    # Features, the nearest found so far, blocks.
    assert found.device_memory == 4 * num * dim + 12 * num * 30 + 2 * BLOCK_BYTES
    assert found.memory == estimate(num, dim, engine="torch").memory


def test_the_lists_of_visits_do_not_grow_with_the_rows():
    def lists(num):
        with_regions, exact = estimate(num, engine="approximate"), estimate(num, engine="torch")
        return with_regions.memory - exact.memory - num * 256

    assert lists(100_000) == pytest.approx(2 * 4 * 100_000 * 100_000**0.5 / 4, rel=0.01)
    assert lists(4_000_000) == lists(1_000_000) < 0.3e9
