"""The estimated number of objects: equal to a count that is written out, right on clear data, wide on unclear data."""

from __future__ import annotations

import json
from itertools import combinations

import numpy as np
import pytest
from scipy.cluster.hierarchy import linkage
from scipy.sparse.csgraph import connected_components
from scipy.spatial.distance import squareform

from spcl.grouping import individuals
from spcl.grouping.cluster_rating import without_mean
from spcl.grouping.groups import cluster
from spcl.grouping.individuals import Individuals, estimate_individuals, merge_distances
from spcl.pairs.constraints import PairConstraints
from tests.selfpaced.test_pseudo_labels import groups


def drawn(sizes: list[int], spread: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Unit rows of objects, and the object of each."""
    return groups(np.random.default_rng(seed), sizes, dim=64, spread=spread), np.repeat(np.arange(len(sizes)), sizes)


def test_merges_are_those_of_average_linkage():
    rows = groups(np.random.default_rng(0), [5, 9, 4, 7], spread=1.0).astype(np.float64)
    distance = 1 - rows @ rows.T
    np.fill_diagonal(distance, 0)
    expected = linkage(squareform(distance, checks=False), "average")[:, 2]
    found = merge_distances(rows, np.ones(len(rows), dtype=np.int64))
    np.testing.assert_allclose(np.sort(found), np.sort(expected), atol=1e-9)


def test_merges_of_sets_average_over_all_pairs_and_respect_pairs_that_are_apart():
    rows = np.array([[1, 0], [0.8, 0.6], [0, 1], [-1, 0]], dtype=np.float64)
    sums = np.stack([rows[:2].sum(axis=0), rows[2], rows[3]])
    sizes = np.array([2, 1, 1])
    # The set of two and the third row: 1 - (0 + 0.6) / 2. The fourth joins all three: 1 - (-1 - 0.8 + 0) / 3.
    np.testing.assert_allclose(merge_distances(sums, sizes), [0.7, 1.6])
    found = merge_distances(sums, sizes, np.array([[1, 0]]))
    # Only the second and the third set can be merged, and then no two.
    np.testing.assert_allclose(found, [1.0, np.inf])
    for num in (0, 1):
        assert merge_distances(np.ones((num, 3)), np.ones(num)).tolist() == []


def counted_by_hand(rows: np.ndarray, group: np.ndarray, limit: float) -> int:
    """Count connected parts: merges of average linkage inside groups, then among groups, each up to a limit."""
    sets = [np.flatnonzero(group == number) for number in range(group.max() + 1)]
    separate = sets + [np.array([row]) for row in np.flatnonzero(group < 0)]
    nearest = min(1 - (rows[a] @ rows[b].T).mean() for a, b in combinations(separate, 2))
    limit = max(limit, nearest - 1e-9)
    links: list[tuple[int, int]] = []

    def merged(start: list[np.ndarray]) -> None:
        left = list(start)
        while len(left) > 1:
            far = [[1 - (rows[a] @ rows[b].T).mean() for b in left] for a in left]
            np.fill_diagonal(table := np.array(far), np.inf)
            a, b = sorted(np.unravel_index(table.argmin(), table.shape))
            if table[a, b] <= limit:
                links.append((left[a][0], left[b][0]))
            both = np.concatenate([left[a], left[b]])
            left = [one for at, one in enumerate(left) if at not in (a, b)] + [both]

    for members in sets:
        merged([np.array([row]) for row in members])
    merged(separate)
    first, second = np.array(links).reshape(-1, 2).T.astype(int)
    graph = np.zeros((len(rows), len(rows)))
    graph[first, second] = 1
    return int(connected_components(graph, directed=False)[0])


def test_equal_to_a_count_of_connected_parts_written_out(monkeypatch):
    rows, _ = drawn([7, 6, 6, 8, 7, 5, 1, 1], spread=1.2, seed=3)
    group = np.array([0] * 7 + [1] * 6 + [2] * 6 + [3] * 4 + [4] * 4 + [5] * 7 + [6] * 5 + [-1] * 2)
    centred = without_mean(rows).astype(np.float64)
    for limit in (0.5, 0.6, 0.8, 0.95, 1.1):
        monkeypatch.setattr(individuals, "_limits", lambda parts, rng, limit=limit: np.full(3, limit))
        expected = counted_by_hand(centred, group, limit)
        assert estimate_individuals(rows, group) == Individuals(expected, expected, expected)


def test_limits_are_high_quantiles_of_the_parts():
    parts = np.array([0.1, 0.2, 0.3, 0.4, 0.9])
    found = individuals._limits(np.sort(parts)[::-1].copy(), np.random.default_rng(0))
    expected = np.random.default_rng(0)
    quantiles = expected.uniform(0.75, 1, size=len(found))
    drawn_parts = parts[::-1][expected.integers(5, size=(len(found), 5))]
    np.testing.assert_allclose(
        found, [np.quantile(some, at) for some, at in zip(drawn_parts, quantiles, strict=True)], atol=1e-12
    )


def test_clear_objects_are_counted_and_torn_ones_are_put_together():
    rows, of = drawn([9] * 12, spread=0.5)
    found = estimate_individuals(rows, of)
    assert found is not None
    assert (found.low, found.estimate, found.high) == (12, 12, 12)
    torn = of.copy()
    torn[of == 3] = np.r_[np.full(5, 3), np.full(4, 12)]
    torn[:2] = -1
    again = estimate_individuals(rows, torn)
    assert again is not None
    assert again.low <= 12 <= again.high
    assert again.estimate <= 15


def test_unclear_groups_give_a_wide_range_in_an_order_of_the_true_number():
    rng = np.random.default_rng(0)
    for number in (15, 30):
        rows = drawn(rng.integers(3, 16, size=number).tolist(), spread=1.3)[0]
        before = rows.copy()
        found = cluster(rows, k1=6, eps=0.6)
        assert np.array_equal(rows, before)
        assert len(found.sizes) + found.num_ungrouped > 3 * number
        assert found.individuals is not None
        assert found.individuals.low <= found.individuals.estimate <= found.individuals.high
        assert found.individuals.high > 1.4 * found.individuals.low
        assert number / 2 <= found.individuals.estimate <= 2.2 * number


def test_the_same_seed_gives_the_same_range():
    rows, _ = drawn([6] * 15, spread=1.4)
    group = cluster(rows).group
    first, second = estimate_individuals(rows, group), estimate_individuals(rows, group)
    assert first == second == cluster(rows).individuals
    assert first != estimate_individuals(rows, group, seed=1)


@pytest.mark.parametrize("num", [0, 1, 4])
def test_too_few_groups_give_no_estimate(num):
    rows, of = drawn([6] * 6, spread=0.3)
    assert estimate_individuals(rows, np.where(of < num, of, -1)) is None
    assert estimate_individuals(rows[:0], of[:0]) is None


def test_all_images_known_or_too_many_give_no_estimate(monkeypatch):
    rows, of = drawn([6] * 6, spread=0.3)
    everything = PairConstraints.of(len(of), np.stack([np.flatnonzero(of == of[at])[[0, 0]] for at in range(36)]))
    assert estimate_individuals(rows, of, constraints=everything) is not None
    links = np.stack([np.array([np.flatnonzero(of == of[at])[0], at]) for at in range(36)])
    assert estimate_individuals(rows, of, constraints=PairConstraints.of(36, links)) is None
    monkeypatch.setattr(individuals, "MOST_NODES", 5)
    assert estimate_individuals(rows, of) is None


def test_known_pairs_are_respected():
    rows, of = drawn([6] * 8, spread=1.6, seed=1)
    # All images of an object known as one: it cannot be divided. All groups known to be different: none are merged.
    whole = [(6 * number, 6 * number + at) for number in range(2) for at in range(1, 6)]
    apart = [(6 * one, 6 * other) for one in range(8) for other in range(one)]
    known = PairConstraints.of(len(of), np.array(whole), np.array(apart))
    free, bound = estimate_individuals(rows, of), estimate_individuals(rows, of, constraints=known)
    assert free is not None
    assert bound is not None
    assert free.low < 8 <= bound.low
    assert bound.high < free.high


def test_the_largest_groups_are_thinned(monkeypatch):
    rows, of = drawn([30] * 6, spread=0.5)
    monkeypatch.setattr(individuals, "_MOST_OF_A_GROUP", 10)
    found = estimate_individuals(rows, of)
    assert found is not None
    assert found.low <= 6 <= found.high


def test_the_result_is_plain_and_says_what_it_is():
    one = Individuals(23, 18, 31)
    assert json.loads(json.dumps(one.to_dict())) == {
        "estimate": 23,
        "low": 18,
        "high": 31,
        "level": 0.9,
        "method": "parts of groups",
    }
    assert "about 23 individuals, 18 to 31 with a probability of 90%" in one.words()
