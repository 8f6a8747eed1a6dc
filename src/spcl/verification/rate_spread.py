"""Error of a false-match rate for objects that it was not fitted to (its spread), and text that describes it.

The spread is a standard error or deviation relative to the rate. Over objects it comes from the jackknife (Efron and
Tibshirani 1993, chapter 11): pairs of one object are not independent, so objects are left out, not pairs.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from spcl.verification.score_tails import ScoreTail

SPREAD_RATES = (0.1, 0.03, 0.01, 0.003, 0.001, 0.0003, 0.0001)
"""False-match rates whose error is estimated; between them it is interpolated."""

KEPT_FACTOR = 2.0
"""A rate holds for other objects if it is within this factor at two standard errors."""


def spreads_over_objects(
    similarities: NDArray[np.float64], tail: ScoreTail, groups: NDArray[np.int64]
) -> tuple[float, ...]:
    """Compute the spread of each of ``SPREAD_RATES`` over other objects.

    Args:
        similarities: ``[m]`` similarities of pairs of different objects.
        tail: Distribution of the similarities.
        groups: ``[m, 2]`` int, the two objects of each pair, numbered from 0.
    """
    errors = [relative_error(similarities >= tail.height(rate), groups) for rate in SPREAD_RATES]
    # With very few pairs the estimate falls again; it is kept non-decreasing towards rarer rates.
    return tuple(np.maximum.accumulate(errors).tolist())


def spread_at(rate: float, spreads: Sequence[float]) -> float:
    """Interpolate the spread of a rate between those of ``SPREAD_RATES``; earlier versions estimated fewer of them."""
    rates = SPREAD_RATES[: len(spreads)]
    return float(np.interp(-np.log(rate), -np.log(rates), spreads))


def relative_error(hits: NDArray[np.bool_], groups: NDArray[np.int64]) -> float:
    """Compute the relative standard error of the share of hits, by the jackknife over objects.

    Args:
        hits: ``[m]`` bool, whether each pair reaches the threshold.
        groups: ``[m, 1]`` or ``[m, 2]`` int, numbers of the objects of each pair, from 0.
    """
    num = int(groups.max(initial=-1)) + 1
    # A pair inside one group (of a cluster, for example) is left out once, with the group.
    counted = np.ones(groups.shape, dtype=bool)
    counted[:, 1:] = groups[:, 1:] != groups[:, :1]
    pairs_of = np.bincount(groups[counted], minlength=num)
    hits_of = np.bincount(groups[hits][counted[hits]], minlength=num)
    there = pairs_of > 0
    left = len(hits) - pairs_of[there]
    if not hits.any() or (left == 0).any():
        return 1.0
    shares = (hits.sum() - hits_of[there]) / left
    count = len(shares)
    return float(np.sqrt((count - 1) / count * ((shares - shares.mean()) ** 2).sum()) / hits.mean())


def factor_in_words(factor: float) -> str:
    """Write a factor: ``1.6``, or ``more than 10`` beyond 10, where it is not exact."""
    return f"{factor:.1f}" if factor <= 10 else "more than 10"


def rounded_up(rate: float) -> float:
    """Round a rate up to one digit: 0.0032 -> 0.004."""
    unit = 10.0 ** np.floor(np.log10(rate))
    return float(f"{np.ceil(rate / unit - 1e-6) * unit:.6g}")
