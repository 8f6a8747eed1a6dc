"""How similar strangers are to enrolled identities, against slow enrolments of others."""

from __future__ import annotations

import numpy as np
import pytest

from spcl.verification.stranger_scores import StrangerScores
from tests.mixtures import mixture


def measured(features, groups, objects=None):
    return StrangerScores.measure(features, groups, groups if objects is None else objects, np.random.default_rng(0))


@pytest.fixture(scope="module")
def found():
    return measured(*mixture(num_identities=150, per_identity=9, seed=0))


def share_named(found, rate, *, count, shots, num=60):
    """Mean share of strangers, of identities that were not measured, at or above the height."""
    features, identities = mixture(num_identities=150, per_identity=9, seed=33)
    rng, shares = np.random.default_rng(1), []
    for _ in range(num):
        chosen = rng.permutation(150)[:count]
        means = np.stack(
            [features[rng.permutation(np.flatnonzero(identities == one))[:shots]].mean(0) for one in chosen]
        )
        lengths = np.linalg.norm(means, axis=1)
        best = (features[~np.isin(identities, chosen)] @ (means / lengths[:, None]).T).max(axis=1)
        height = found.height(rate, count=count, shots=shots, length=float(np.median(lengths)))
        shares.append(float((best >= height).mean()))
    return float(np.mean(shares))


@pytest.mark.parametrize(("count", "shots"), [(1, 1), (1, 8), (3, 3), (6, 1), (16, 5), (30, 2)])
def test_other_strangers_reach_the_height_as_rarely(found, count, shots):
    for rate in (0.1, 0.01):
        assert rate / 2 < share_named(found, rate, count=count, shots=shots) < 2 * rate


def test_more_identities_and_rarer_rates_are_higher(found):
    heights = [found.height(0.05, count=count, shots=4, length=0.8) for count in (1, 2, 3, 8, 12, 16, 19, 40)]
    assert (np.diff(heights) > 0).all()
    assert found.height(0.01, count=3, shots=2, length=0.9) > found.height(0.1, count=3, shots=2, length=0.9)


def test_nearly_equal_shots_are_worth_one(found):
    one = found.height(0.05, count=4, shots=1, length=1.0)
    assert found.height(0.05, count=4, shots=8, length=1.0) == one
    assert found.height(0.05, count=4, shots=8, length=found.lengths[-1]) != one
    # Shots more unlike than any that were measured are worth no more than they are.
    assert found.height(0.05, count=4, shots=2, length=0.1) == found.height(
        0.05, count=4, shots=2, length=found.lengths[1]
    )


def test_how_much_single_galleries_differ(found):
    """The spread that is kept is that of other galleries of as many."""
    features, identities = mixture(num_identities=150, per_identity=9, seed=33)
    rng = np.random.default_rng(1)
    for count in (1, 4, 16):
        height = found.height(0.1, count=count, shots=1, length=1)
        shares = []
        for _ in range(300):
            chosen = rng.permutation(150)[:count]
            rows = [rng.choice(np.flatnonzero(identities == one)) for one in chosen]
            best = (features[~np.isin(identities, chosen)] @ features[rows].T).max(axis=1)
            shares.append((best >= height).mean())
        assert found.factor(0.1, count=count) == pytest.approx(1 + 2 * np.std(shares) / 0.1, rel=0.3)
    factors = [found.factor(0.03, count=count) for count in (1, 2, 5, 16, 40)]
    assert (np.diff(factors) < 0).all()


def test_lengths_that_no_longer_fall_end_the_rows():
    """Groups of many images are tracks of nearly equal ones here: they tell nothing of several shots."""
    features, identities = mixture(num_identities=40, per_identity=3, seed=0)
    tracks = np.repeat(features[:60:3], 8, axis=0)
    rows = np.concatenate([features[60:], tracks])
    groups = np.concatenate([identities[60:], np.repeat(np.arange(100, 120), 8)])
    assert measured(rows, groups).shots == (1, 2)


def test_the_scores_are_those_of_all_enrolments():
    """One shot of one identity: every pair of two identities is as likely as another."""
    features, identities = mixture(num_identities=8, per_identity=1, seed=3)
    found = measured(features, identities)
    assert (found.shots, found.counts, found.lengths) == ((1,), ((1, 2, 4),), (1.0,))
    similarities = (features @ features.T)[~np.eye(8, dtype=bool)]
    for share in (0.9, 0.5, 0.2):
        assert found.tails[0][0].height(share) == pytest.approx(np.quantile(similarities, 1 - share), abs=0.02)
    best = [
        max(features[probe] @ features[a], features[probe] @ features[b])
        for a in range(8)
        for b in range(a)
        for probe in range(8)
        if probe not in (a, b)
    ]
    assert found.tails[0][1].height(0.5) == pytest.approx(np.median(best), abs=0.1)


def test_images_of_the_enrolled_and_of_nobody_are_no_strangers():
    features, identities = mixture(num_identities=40, per_identity=4, seed=5)
    # Half of the images of each identity form its cluster; the others are in none, but known to be of the same object.
    clusters = np.where(np.tile([True, True, False, False], 40), identities, -1)
    apart = measured(features, clusters, identities)
    mixed = measured(features, clusters, np.arange(len(features)))
    assert apart.height(0.01, count=1, shots=1, length=1) < mixed.height(0.01, count=1, shots=1, length=1) - 0.05
    # Those that may be anybody are left out: here the very copies of the enrolled.
    doubled = np.concatenate([features, features])
    groups = np.concatenate([clusters, np.full(len(features), -1)])
    objects = np.concatenate([identities, np.full(len(features), -1)])
    assert measured(doubled, groups, objects) == apart


def test_too_few_are_told():
    features, identities = mixture(num_identities=3, per_identity=9, seed=0)
    assert measured(features, identities) is None
    assert measured(features, np.full(27, -1)) is None
    assert measured(features[:0], identities[:0]) is None
    # All of one object but for their clusters: nobody is a stranger.
    assert measured(features, np.arange(27) // 2, np.zeros(27, dtype=np.int64)) is None


def test_plain_values_and_back(found):
    assert StrangerScores.from_dict(found.to_dict()) == found
    with pytest.raises(ValueError, match="not the scores of strangers"):
        StrangerScores.from_dict({"shots": [1]})
