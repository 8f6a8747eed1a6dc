import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spcl.linking.linkage import TRIED, chosen_similarity, merged_tracks


def oracle(similarity, cannot, least, must=(), fits=None):
    """Constrained average linkage from its definition: all pairs of groups are looked at in every step."""
    groups = [[row] for row in range(len(similarity))]

    def joined(one, other):
        groups[one] += groups[other]
        del groups[other]

    for first, second in must:
        one, other = sorted(next(at for at, group in enumerate(groups) if row in group) for row in (first, second))
        if one != other:
            joined(one, other)
    while True:
        best = None
        for one in range(len(groups)):
            for other in range(one + 1, len(groups)):
                pair = np.ix_(groups[one], groups[other])
                if cannot[pair].any() or (fits is not None and not fits(groups[one], groups[other])):
                    continue
                mean = similarity[pair].mean()
                if mean >= least and (best is None or mean > best[0]):
                    best = mean, one, other
        if best is None:
            break
        joined(best[1], best[2])
    labels = np.empty(len(similarity), dtype=int)
    for number, group in enumerate(sorted(groups, key=min)):
        labels[group] = number
    return labels


def random_case(seed, num):
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(num, 4)) + 3 * rng.normal(size=(3, 4))[rng.integers(0, 3, num)]
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    cannot = np.triu(rng.random((num, num)) < 0.15, 1)
    return rows @ rows.T, cannot | cannot.T


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 14), st.floats(-0.5, 0.9))
def test_equal_to_the_definition(seed, num, least):
    similarity, cannot = random_case(seed, num)
    before = similarity.copy(), cannot.copy()
    merges = merged_tracks(similarity, cannot, least=least)
    groups = merges.groups(least)
    np.testing.assert_array_equal(groups, oracle(similarity, cannot, least))
    assert not (cannot & (groups[:, None] == groups)).any()
    np.testing.assert_array_equal(similarity, before[0])
    np.testing.assert_array_equal(cannot, before[1])


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_further_constraints_and_known_pairs_equal_the_definition(seed):
    similarity, cannot = random_case(seed, 10)

    def fits(one, other):
        return len(one) + len(other) <= 4 and (sum(one) + sum(other)) % 7 != 3

    cannot[0, 1] = cannot[1, 0] = cannot[2, 3] = cannot[3, 2] = False
    must = [(0, 1), (2, 3)]
    found = merged_tracks(similarity, cannot, must_link=must, least=0.1, fits=fits).groups(0.1)
    np.testing.assert_array_equal(found, oracle(similarity, cannot, 0.1, must, fits))
    assert found[0] == found[1] and found[2] == found[3]


def test_a_cut_of_the_merges_is_the_linkage_down_to_it():
    similarity, cannot = random_case(3, 16)
    merges = merged_tracks(similarity, cannot, least=TRIED[0])
    for least in TRIED:
        np.testing.assert_array_equal(merges.groups(least), oracle(similarity, cannot, least))


def test_the_chosen_similarity_finds_clear_groups():
    rng = np.random.default_rng(0)
    truth = np.repeat(np.arange(12), 4)
    rows = rng.normal(size=(12, 64))[truth] + 0.6 * rng.normal(size=(48, 64))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    merges = merged_tracks(rows @ rows.T, np.zeros((48, 48), dtype=bool))
    np.testing.assert_array_equal(merges.groups(chosen_similarity(merges, rows @ rows.T)), truth)


@pytest.mark.parametrize("num", [0, 1, 2])
def test_few_tracks(num):
    similarity = np.full((num, num), 0.9)
    merges = merged_tracks(similarity, np.zeros((num, num), dtype=bool))
    assert merges.groups(0.5).tolist() == [0] * num
    assert chosen_similarity(merges, similarity) in TRIED
