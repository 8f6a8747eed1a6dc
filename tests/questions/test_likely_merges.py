"""Groups that may show one object, against all pairs written out."""

from __future__ import annotations

from itertools import combinations

import numpy as np

from spcl.questions.likely_merges import likely_merges


class Probabilities:
    """A probability that grows with the similarity."""

    def of(self, similarities):
        return (np.asarray(similarities, dtype=np.float64) + 1) / 2


def rows(rng, num, dim=6):
    features = rng.normal(size=(num, dim)).astype(np.float32)
    return features / np.linalg.norm(features, axis=1, keepdims=True)


def test_equal_to_all_pairs_written_out(monkeypatch):
    monkeypatch.setattr("spcl.questions.likely_merges._BLOCK", 3)
    rng = np.random.default_rng(0)
    features = rows(rng, 60)
    group = rng.choice([-1, 0, 2, 3, 5, 8, 9, 11, 20], 60)
    apart = np.array([[9, 2], [0, 20], [-1, 3], [77, 5]])
    expected = []
    for first, second in combinations(sorted(set(group.tolist()) - {-1}), 2):
        if (first, second) not in {(2, 9), (0, 20)}:
            similarity = float((features[group == first] @ features[group == second].T).mean())
            expected.append((first, second, similarity, (similarity + 1) / 2))
    expected.sort(key=lambda pair: -pair[2])
    found = likely_merges(features, group, Probabilities(), num=10, apart=apart)
    assert [(one.first, one.second) for one in found] == [pair[:2] for pair in expected[:10]]
    np.testing.assert_allclose(
        [(o.similarity, o.probability) for o in found], [p[2:] for p in expected[:10]], atol=1e-6
    )
    distinct = likely_merges(features, group, Probabilities(), num=1000, apart=apart, distinct=[3, 8, 11, 99])
    pairs = [pair[:2] for pair in expected if not set(pair[:2]) <= {3, 8, 11}]
    assert len(pairs) == len(expected) - 3
    assert [(one.first, one.second) for one in distinct] == pairs
    every = likely_merges(features, group, Probabilities(), num=1000, apart=apart)
    assert len(every) == len(expected)


def test_fewer_than_two_groups_have_no_pair():
    features = rows(np.random.default_rng(1), 4)
    for group in ([-1] * 4, [3, 3, -1, 3]):
        assert likely_merges(features, np.array(group), Probabilities(), num=5) == []
    two = likely_merges(features, np.array([4, 4, 1, 1]), Probabilities(), num=5)
    assert [(one.first, one.second) for one in two] == [(1, 4)]
    assert likely_merges(features, np.array([4, 4, 1, 1]), Probabilities(), num=5, apart=np.array([[4, 1]])) == []
