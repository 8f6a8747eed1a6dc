"""The test for a shift: the statistic of SciPy, p-values that are right for images in groups, Holm's method."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import ks_2samp

from spcl.monitoring.shift_test import holm, largest_difference, shift_of


def grouped(rng, num_groups, size, spread=1.0, shift=0.0):
    """Values of groups: those of one group are near each other."""
    centres = rng.normal(shift, 1, num_groups)
    values = np.repeat(centres, size) + rng.normal(0, spread, num_groups * size)
    return values, np.repeat(np.arange(num_groups), size)


@pytest.mark.parametrize(("n", "m"), [(1, 1), (5, 3), (40, 60)])
def test_the_statistic_is_that_of_scipy(n, m):
    rng = np.random.default_rng(n)
    # Rounded, so that values are equal.
    first, second = rng.normal(0, 1, n).round(1), rng.normal(0.3, 1, m).round(1)
    kept = first.copy()
    assert largest_difference(first, second) == pytest.approx(ks_2samp(first, second).statistic)
    assert np.array_equal(first, kept)


def test_without_groups_the_p_value_is_near_that_of_scipy():
    rng = np.random.default_rng(1)
    for shift in (0.0, 0.15, 0.3):
        first, second = rng.normal(0, 1, 300), rng.normal(shift, 1, 300)
        own = shift_of(first, np.arange(300), second, np.random.default_rng(0))
        theirs = ks_2samp(first, second).pvalue
        assert abs(np.log10(own.p_value) - np.log10(theirs)) < 0.6
        assert 60 < own.num_independent <= 150


def test_images_in_groups_raise_no_more_alarms_than_asked_for():
    alarms, plain = 0, 0
    for draw in range(60):
        rng = np.random.default_rng(draw)
        reference, groups = grouped(rng, 40, 10, spread=0.3)
        new, _ = grouped(rng, 15, 10, spread=0.3)
        alarms += shift_of(reference, groups, new, rng).p_value < 0.05
        plain += ks_2samp(reference, new).pvalue < 0.05
    # 3 are expected; the plain test calls far more of them different.
    assert alarms <= 7
    assert plain > 20


def test_a_shift_of_all_groups_is_found():
    rng = np.random.default_rng(3)
    reference, groups = grouped(rng, 60, 8, spread=0.3)
    new, _ = grouped(rng, 40, 8, spread=0.3, shift=2.0)
    assert shift_of(reference, groups, new, rng).p_value < 1e-6


def test_rates():
    rng = np.random.default_rng(4)
    groups = np.arange(400) // 4
    reference = (rng.random(400) < 0.1).astype(float)
    same = (rng.random(200) < 0.1).astype(float)
    more = (rng.random(200) < 0.4).astype(float)
    assert shift_of(reference, groups, same, rng, is_rate=True).p_value > 0.01
    found = shift_of(reference, groups, more, rng, is_rate=True)
    assert found.p_value < 1e-4
    assert found.statistic == pytest.approx(abs(more.mean() - reference.mean()))
    # No unknown image in the reference: one among fifty new ones is no alarm.
    one = np.zeros(50)
    one[0] = 1
    assert shift_of(np.zeros(400), groups, one, rng, is_rate=True).p_value > 0.01


def test_degenerate_values():
    rng = np.random.default_rng(5)
    equal = shift_of(np.ones(50), np.arange(50), np.ones(30), rng)
    assert equal.p_value == pytest.approx(1)
    assert shift_of(np.ones(50), np.arange(50), np.full(30, 2.0), rng).p_value < 1e-6
    assert 0 <= shift_of(np.ones(50), np.zeros(50, dtype=int), np.full(30, 2.0), rng).p_value <= 1
    with pytest.raises(ValueError, match="no values"):
        shift_of(np.empty(0), np.empty(0, dtype=int), np.ones(3), rng)


def test_holm_by_hand():
    given = np.array([0.01, 0.04, 0.03, 0.005])
    assert holm(given) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm(np.array([0.9, 0.8])) == pytest.approx([1, 1])
    assert holm(np.empty(0)).size == 0
