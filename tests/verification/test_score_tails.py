"""Quantiles of a sample, and what lies beyond it."""

from __future__ import annotations

import numpy as np
import pytest

from spcl.verification.score_tails import ScoreTail


def test_inside_the_sample_it_is_the_empirical_quantile():
    scores = np.random.default_rng(0).normal(0, 0.1, 20_000)
    tail = ScoreTail.from_scores(scores)
    for share in (0.5, 0.1, 0.01, 0.001):
        assert not tail.is_extrapolated(share)
        assert (scores >= tail.height(share)).mean() == pytest.approx(share, rel=0.05)
        assert tail.share_above(tail.height(share)) == pytest.approx(share, rel=1e-6)


@pytest.mark.parametrize(
    "draw",
    [
        lambda rng, n: rng.normal(0.1, 0.1, n),
        lambda rng, n: rng.beta(2, 8, n),
        lambda rng, n: rng.exponential(0.05, n),
        lambda rng, n: rng.normal(np.where(rng.random(n) < 0.02, 0.5, 0.1), 0.1),
    ],
    ids=["normal", "beta", "exponential", "some look alike"],
)
def test_beyond_the_sample_the_rate_is_kept_within_a_factor_of_two(draw):
    rng = np.random.default_rng(1)
    fresh = draw(rng, 2_000_000)
    rates = []
    for _ in range(20):
        tail = ScoreTail.from_scores(draw(rng, 2000))
        assert tail.is_extrapolated(0.001)
        rates.append((fresh >= tail.height(0.001)).mean())
    assert 0.0005 < np.median(rates) < 0.002


def test_it_is_monotone_without_a_step_and_its_own_inverse_everywhere():
    tail = ScoreTail.from_scores(np.random.default_rng(2).normal(0, 0.1, 500))
    shares = np.geomspace(1, 1e-7, 400)
    heights = np.array([tail.height(share) for share in shares])
    assert (np.diff(heights) >= 0).all()
    assert np.diff(heights).max() < 0.1
    below_one = shares < 0.99
    np.testing.assert_allclose(tail.share_above(heights)[below_one], shares[below_one], rtol=1e-6)


def test_scores_that_are_drawn_again_show_no_rarer_heights():
    few = np.random.default_rng(0).normal(size=100)
    alone, again = ScoreTail.from_scores(few), ScoreTail.from_scores(np.tile(few, 50), num_own=100)
    assert (again.num_scores, again.shares[-1]) == (alone.num_scores, alone.shares[-1])
    assert again.is_extrapolated(0.05)
    assert not ScoreTail.from_scores(np.tile(few, 50)).is_extrapolated(0.05)
    assert again.height(0.2) == pytest.approx(alone.height(0.2), abs=0.05)


def test_equal_scores_plain_values_and_refusals():
    tail = ScoreTail.from_scores(np.full(20, 0.5))
    assert tail.height(1e-6) == 0.5
    assert tail.share_above([0.4, 0.6]).tolist() == [1.0, 0.0]
    assert ScoreTail.from_dict(tail.to_dict()) == tail
    with pytest.raises(ValueError, match="9 scores; their distribution needs at least 10"):
        ScoreTail.from_scores(np.zeros(9))
    with pytest.raises(ValueError, match="not finite"):
        ScoreTail.from_scores([*range(10), np.nan])
    for share in (0, 1.1):
        with pytest.raises(ValueError, match="expected above 0 and at most 1"):
            tail.height(share)
    with pytest.raises(ValueError, match="not the description"):
        ScoreTail.from_dict({"shares": [1]})
