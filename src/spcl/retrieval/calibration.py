"""What a similarity means: the probability that two images show one object, and the threshold at a false-match rate.

The probability is a monotone function of the similarity, fitted to pairs of one object and pairs of different objects
as if both were equally frequent (a balanced prior): beta calibration (Kull, Silva Filho, Flach 2017), three numbers,
which unlike plain logistic calibration follows similarities that crowd near 1. The threshold at a false-match rate is
the height that only this share of the different-object pairs reach (``score_tails.py``).

Where the pairs come from is in ``engine/calibrate.py``; from pairs to names is in ``identification.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize

from spcl.retrieval.score_tails import FEWEST_SCORES, ScoreTail

Verdict = Literal["same", "different", "unsure"]

SPREAD_RATES = (0.1, 0.03, 0.01, 0.003, 0.001)
"""False-match rates whose error is estimated; between them it is interpolated."""

MOST_SIMILAR = 1 - 1e-6
"""Thresholds are never above it."""

_WIDE_SPREAD = 0.5
_MOST_FITTED = 20_000
_LEAST_GAP = 1e-6
_MOST_LOG_ODDS = 30.0
_RIDGE = 1e-6


@dataclass(frozen=True)
class Threshold:
    """The similarity from which two images count as one object.

    Attributes:
        similarity: The least; below 1 always, so that equal images are one object whatever the rounding.
        false_match_rate: Share of different-object pairs that reach it.
        true_match_rate: Share of same-object pairs that reach it; None where it is not known.
        warning: What to know about it, in a sentence; None: nothing.
    """

    similarity: float
    false_match_rate: float
    true_match_rate: float | None
    warning: str | None


@dataclass(frozen=True)
class Calibration:
    """What similarities of one encoder mean.

    Attributes:
        to_one: How much the log odds grow with ``-log((1 - similarity) / 2)``; not negative.
        from_minus_one: How much they grow with ``log((1 + similarity) / 2)``; not negative.
        offset: The log odds without either.
        different: Distribution of the similarities of different objects.
        same: Distribution of the negated similarities of images of one object.
        spreads: Relative standard error of each rate of ``SPREAD_RATES``, for other objects than these were fitted
            to; None where the objects of the pairs are not known.
    """

    to_one: float
    from_minus_one: float
    offset: float
    different: ScoreTail
    same: ScoreTail
    spreads: tuple[float, ...] | None = None

    @classmethod
    def fit(
        cls, same: ArrayLike, different: ArrayLike, *, different_groups: NDArray[np.int64] | None = None
    ) -> Calibration:
        """From similarities of pairs.

        Args:
            same: ``[n]`` similarities of two images of one object, -1 to 1.
            different: ``[m]`` similarities of images of two objects.
            different_groups: ``[m, 2]`` numbers of these objects, from 0: how many there are, not how many pairs,
                decides how far a rate holds for others. None: not known.

        Raises:
            ValueError: If there are fewer than ten of either, one is not finite or not a similarity, or images of one
                object are not more similar than others.
        """
        alike, unlike = _checked(same, "same-object"), _checked(different, "different-object")
        if np.median(alike) <= np.median(unlike):
            raise ValueError(
                f"images of one object are not more similar (median {np.median(alike):.3f}) than images of different "
                f"objects (median {np.median(unlike):.3f}): their similarity tells nothing"
            )
        to_one, from_minus_one, offset = _beta_calibration(_thinned(alike), _thinned(unlike))
        tail = ScoreTail.from_scores(unlike)
        spreads = None
        if different_groups is not None:
            spreads = tuple(_relative_error(unlike >= tail.height(rate), different_groups) for rate in SPREAD_RATES)
        return cls(to_one, from_minus_one, offset, tail, ScoreTail.from_scores(-alike), spreads)

    def probability(self, similarities: ArrayLike) -> NDArray[np.float64]:
        """Probability that the two images show one object, if that is as likely as not beforehand.

        Args:
            similarities: Of any shape.

        Returns:
            Values in (0, 1) of the same shape, growing with the similarity.
        """
        to_one, from_minus_one = _logarithms(np.asarray(similarities, dtype=np.float64))
        log_odds = self.offset + self.to_one * to_one + self.from_minus_one * from_minus_one
        return np.asarray(1 / (1 + np.exp(-np.clip(log_odds, -_MOST_LOG_ODDS, _MOST_LOG_ODDS))), dtype=np.float64)

    def threshold(self, false_match_rate: float = 0.01) -> Threshold:
        """The similarity that this share of the different-object pairs reach.

        Raises:
            ValueError: If the rate is not between 0 and 1.
        """
        check_rate(false_match_rate)
        # A quantile of few objects is exceeded more often by others, on average by the square of its relative error.
        careful_rate = false_match_rate / (1 + (self.spread(false_match_rate) or 0.0) ** 2)
        similarity = min(self.different.height(careful_rate), MOST_SIMILAR)
        true_rate = 1 - float(self.same.share_above(np.nextafter(-similarity, np.inf)))
        return Threshold(similarity, false_match_rate, true_rate, self.warning(false_match_rate))

    def lower_threshold(self, false_match_rate: float = 0.01) -> float:
        """The similarity below which two images count as different objects: this share of same-object pairs lie there.

        Never above ``threshold``.
        """
        return min(-self.same.height(false_match_rate), self.threshold(false_match_rate).similarity)

    def verdict(self, similarity: float, false_match_rate: float = 0.01) -> Verdict:
        """``same`` from ``threshold`` on, ``different`` below ``lower_threshold``, ``unsure`` between the two."""
        if similarity >= self.threshold(false_match_rate).similarity:
            return "same"
        return "different" if similarity < self.lower_threshold(false_match_rate) else "unsure"

    def spread(self, false_match_rate: float) -> float | None:
        """Relative standard error of a rate for other objects; None where it is not known."""
        if self.spreads is None:
            return None
        return float(np.interp(-np.log(false_match_rate), -np.log(SPREAD_RATES), self.spreads))

    def warning(self, rate: float) -> str | None:
        """What to know about the threshold at a false-match rate; None: nothing."""
        told = []
        if self.different.is_extrapolated(rate):
            told.append(
                f"{self.different.num_scores} similarities of different objects are too few to show a false-match rate "
                f"of {rate:.3g}: the threshold is extrapolated from the largest of them"
            )
        spread = self.spread(rate)
        if spread is not None and spread > _WIDE_SPREAD:
            told.append(
                "the objects it was fitted to are few, or some look very much alike: on others the false-match rate "
                f"of {rate:.3g} can well be {1 + 2 * spread:.1f} times as high"
            )
        return "; ".join(told) or None

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for a checkpoint or a file."""
        spreads = None if self.spreads is None else list(self.spreads)
        return asdict(self) | {
            "different": self.different.to_dict(),
            "same": self.same.to_dict(),
            "spreads": spreads,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Calibration:
        """From what ``to_dict`` gave.

        Raises:
            ValueError: If a value is missing or unknown.
        """
        try:
            tails = {name: ScoreTail.from_dict(values[name]) for name in ("different", "same")}
            spreads = values["spreads"]
            known = {"spreads": None if spreads is None else tuple(spreads), **tails}
            return cls(**(dict(values) | known))
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a calibration: {error}") from error


def check_rate(rate: float) -> None:
    """Is it a rate?

    Raises:
        ValueError: If it is not above 0 and below 1.
    """
    if not 0 < rate < 1:
        raise ValueError(f"the false-match rate is {rate:g}; expected above 0 and below 1, 0.01 say")


def _checked(similarities: ArrayLike, name: str) -> NDArray[np.float64]:
    values = np.asarray(similarities, dtype=np.float64).reshape(-1)
    if len(values) < FEWEST_SCORES:
        raise ValueError(f"there are {len(values)} {name} pairs; a calibration needs at least {FEWEST_SCORES}")
    if not np.isfinite(values).all() or np.abs(values).max() > 1 + 1e-4:
        raise ValueError(f"similarities of {name} pairs must lie between -1 and 1: are the features of unit length?")
    return np.clip(values, -1, 1)


def _relative_error(hits: NDArray[np.bool_], groups: NDArray[np.int64]) -> float:
    """Standard error of the share of hits over its size: the jackknife that leaves out one object after the other."""
    num = int(groups.max(initial=-1)) + 1
    pairs_of = np.bincount(groups.reshape(-1), minlength=num)
    hits_of = np.bincount(groups[hits].reshape(-1), minlength=num)
    there = pairs_of > 0
    left = len(hits) - pairs_of[there]
    if not hits.any() or (left == 0).any():
        return 1.0
    shares = (hits.sum() - hits_of[there]) / left
    count = len(shares)
    return float(np.sqrt((count - 1) / count * ((shares - shares.mean()) ** 2).sum()) / hits.mean())


def _thinned(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """At most some thousands of values, evenly spaced among the sorted ones: the same distribution."""
    if len(values) <= _MOST_FITTED:
        return values
    places = (np.arange(_MOST_FITTED) + 0.5) * len(values) / _MOST_FITTED
    return np.asarray(np.sort(values)[places.astype(np.int64)])


def _logarithms(similarities: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    share = np.clip((1 + similarities) / 2, _LEAST_GAP, 1 - _LEAST_GAP)
    return -np.log1p(-share), np.log(share)


def _beta_calibration(same: NDArray[np.float64], different: NDArray[np.float64]) -> tuple[float, float, float]:
    """Growth toward 1, growth from -1, offset: the likeliest with growths that are not negative."""
    both = np.concatenate([same, different])
    terms = np.stack([*_logarithms(both), np.ones(len(both))], axis=1)
    # Both kinds weigh the same; targets a little inside 0 and 1 (Platt 1999) keep separable pairs finite.
    count = np.array([len(same), len(different)])
    weights = np.repeat(0.5 / count, count)
    target = np.repeat([(count[0] + 1) / (count[0] + 2), 1 / (count[1] + 2)], count)

    def cost(parameters: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        log_odds = terms @ parameters
        loss = np.logaddexp(0, log_odds) - target * log_odds
        slope = weights * (1 / (1 + np.exp(-np.clip(log_odds, -700, 700))) - target)
        shrinking = _RIDGE * parameters * [1, 1, 0]
        return float(weights @ loss + 0.5 * shrinking @ parameters), terms.T @ slope + shrinking

    found = minimize(
        cost, np.array([1.0, 1.0, 0.0]), jac=True, method="L-BFGS-B", bounds=[(0, None), (0, None), (None, None)]
    )
    to_one, from_minus_one, offset = found.x.tolist()
    return to_one, from_minus_one, offset
