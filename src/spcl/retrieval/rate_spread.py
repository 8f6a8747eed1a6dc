"""How far a false-match rate holds for other objects than it was fitted to: its spread, and the words for it.

The spread is a standard error or deviation relative to the rate. Over objects it comes from the jackknife (Efron and
Tibshirani 1993, chapter 11): pairs of one object are not independent, so objects are left out, not pairs.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from spcl.retrieval.score_tails import ScoreTail

SPREAD_RATES = (0.1, 0.03, 0.01, 0.003, 0.001, 0.0003, 0.0001)
"""False-match rates whose error is estimated; between them it is interpolated."""

KEPT_FACTOR = 2.0
"""A rate is kept on other objects if it is within this factor, with the certainty of two standard errors."""


def spreads_over_objects(
    similarities: NDArray[np.float64], tail: ScoreTail, groups: NDArray[np.int64]
) -> tuple[float, ...]:
    """The spread of each of ``SPREAD_RATES`` over other objects.

    Args:
        similarities: ``[m]`` of pairs of different objects.
        tail: Their distribution.
        groups: ``[m, 2]`` the objects of each pair, numbered from 0.
    """
    errors = [relative_error(similarities >= tail.height(rate), groups) for rate in SPREAD_RATES]
    # Where hardly a pair is left the estimate falls again; a rarer rate is never surer.
    return tuple(np.maximum.accumulate(errors).tolist())


def spread_at(rate: float, spreads: Sequence[float]) -> float:
    """The spread of any rate, between those of ``SPREAD_RATES``; earlier versions estimated fewer of them."""
    rates = SPREAD_RATES[: len(spreads)]
    return float(np.interp(-np.log(rate), -np.log(rates), spreads))


def relative_error(hits: NDArray[np.bool_], groups: NDArray[np.int64]) -> float:
    """Standard error of the share of hits over its size: the jackknife that leaves out one object after the other.

    Args:
        hits: ``[m]`` which pairs reach a height.
        groups: ``[m, 1]`` or ``[m, 2]`` numbers of the objects of each pair, from 0.
    """
    num = int(groups.max(initial=-1)) + 1
    # A pair inside one group, of clusters say, is left out with it once.
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
    """``1.6``; beyond 10, of which nothing exact can be said, ``more than 10``."""
    return f"{factor:.1f}" if factor <= 10 else "more than 10"


def rounded_up(rate: float) -> float:
    """A rate as one would ask for it, of one digit and not below: 0.0032 -> 0.004."""
    unit = 10.0 ** np.floor(np.log10(rate))
    return float(f"{np.ceil(rate / unit - 1e-6) * unit:.6g}")
