"""What a similarity means: the probability that two images show one object, and the threshold at a false-match rate.

The probability is a monotone function of the similarity, fitted to pairs of one object and pairs of different objects
as if both were equally frequent (a balanced prior): ``beta_calibration.py``, three numbers, which unlike plain logistic
calibration follow similarities that crowd near 1. The threshold at a false-match rate is the height that only this
share of the different-object pairs reach (``score_tails.py``); how far it holds for other objects is in
``rate_spread.py``.

Where the pairs come from is in ``engine/calibration_pairs.py``; from pairs to names is in ``identification.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spcl.retrieval.beta_calibration import fit_beta_calibration, logarithms
from spcl.retrieval.rate_spread import (
    KEPT_FACTOR,
    SPREAD_RATES,
    factor_in_words,
    rounded_up,
    spread_at,
    spreads_over_objects,
)
from spcl.retrieval.score_tails import FEWEST_SCORES, ScoreTail
from spcl.retrieval.stranger_scores import StrangerScores

Verdict = Literal["same", "different", "unsure"]

FEWEST_OBJECTS = 20
"""Objects below which no rate is called sure: too few to tell how much they differ."""

SURE_WITHOUT_LABELS = 0.01
"""Rates below it are not sure where different objects are known from clusters, however many these are."""

MOST_SIMILAR = 1 - 1e-6
"""Thresholds are never above it."""

_MOST_LOG_ODDS = 30.0


@dataclass(frozen=True)
class Threshold:
    """The similarity from which two images count as one object.

    Attributes:
        similarity: The least; below 1 always, so that equal images are one object whatever the rounding.
        false_match_rate: Share of different-object pairs that are expected to reach it; of those it was fitted to fewer
            do, where they are of few objects.
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
        labelled: Whether the objects are known from labels; thresholds are then made stricter for this error.
        num_objects: How many objects, or clusters that stand for them, it was fitted to; None where it is not known.
        strangers: Best similarities of strangers to enrolled identities; None where they were not measured.
    """

    to_one: float
    from_minus_one: float
    offset: float
    different: ScoreTail
    same: ScoreTail
    spreads: tuple[float, ...] | None = None
    labelled: bool = True
    num_objects: int | None = None
    strangers: StrangerScores | None = None

    @classmethod
    def fit(
        cls,
        same: ArrayLike,
        different: ArrayLike,
        *,
        different_groups: NDArray[np.int64] | None = None,
        num_same: int | None = None,
        num_objects: int | None = None,
        labelled: bool = True,
        strangers: StrangerScores | None = None,
    ) -> Calibration:
        """From similarities of pairs.

        Args:
            same: ``[n]`` similarities of two images of one object, -1 to 1.
            different: ``[m]`` similarities of images of two objects.
            different_groups: ``[m, 2]`` numbers of these objects, from 0: how many there are, not how many pairs,
                decides how far a rate holds for others. None: not known.
            num_same: How many of ``same`` are of their own, where some are there twice; None: all.
            num_objects: How many objects these numbers stand for, where it is not as many as there are numbers.
            labelled: The objects are known from labels: thresholds are made stricter where they are few. Without labels
                pairs of one object among ``different`` do so already.
            strangers: Measured on the same images, for thresholds of enrolled identities.

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
        to_one, from_minus_one, offset = fit_beta_calibration(alike, unlike)
        tail = ScoreTail.from_scores(unlike)
        spreads = None
        if different_groups is not None:
            spreads = spreads_over_objects(unlike, tail, different_groups)
            if num_objects is None:
                num_objects = len(np.unique(different_groups))
        return cls(
            to_one=to_one,
            from_minus_one=from_minus_one,
            offset=offset,
            different=tail,
            same=ScoreTail.from_scores(-alike, num_own=num_same),
            spreads=spreads,
            labelled=labelled,
            num_objects=num_objects,
            strangers=strangers,
        )

    def probability(self, similarities: ArrayLike) -> NDArray[np.float64]:
        """Probability that the two images show one object, if that is as likely as not beforehand.

        Args:
            similarities: Of any shape.

        Returns:
            Values in (0, 1) of the same shape, growing with the similarity.
        """
        to_one, from_minus_one = logarithms(np.asarray(similarities, dtype=np.float64))
        log_odds = self.offset + self.to_one * to_one + self.from_minus_one * from_minus_one
        return np.asarray(1 / (1 + np.exp(-np.clip(log_odds, -_MOST_LOG_ODDS, _MOST_LOG_ODDS))), dtype=np.float64)

    def threshold(self, false_match_rate: float = 0.01) -> Threshold:
        """The similarity that this share of the different-object pairs reach.

        Raises:
            ValueError: If the rate is not between 0 and 1.
        """
        check_rate(false_match_rate)
        similarity = min(self.different.height(self.careful_rate(false_match_rate)), MOST_SIMILAR)
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

    def careful_rate(self, false_match_rate: float) -> float:
        """The rate to take on these objects, so that others do not exceed the one asked for on average."""
        # A quantile of few objects is exceeded more often by others, on average by the square of its relative error.
        spread = (self.spread(false_match_rate) or 0.0) if self.labelled else 0.0
        return false_match_rate / (1 + spread**2)

    def spread(self, false_match_rate: float) -> float | None:
        """Relative standard error of a rate for other objects; None where it is not known."""
        return None if self.spreads is None else spread_at(false_match_rate, self.spreads)

    def factor(self, false_match_rate: float) -> float | None:
        """By what factor a rate can well differ on as many other objects: two standard errors of both together.

        None where the objects of the pairs are not known.
        """
        spread = self.spread(false_match_rate)
        return None if spread is None else float(np.exp(2 * np.sqrt(2) * spread))

    def least_rate(self) -> float | None:
        """The false-match rate from which on rates are kept within a factor of two on other objects.

        None where none is, or where the objects of the pairs are not known. At most 0.1.
        """
        least = None
        for rate in np.geomspace(SPREAD_RATES[0], SPREAD_RATES[-1], 61).tolist():
            if not self.is_kept(rate):
                break
            least = rate
        return least

    def is_kept(self, false_match_rate: float) -> bool:
        """Whether a rate is kept within a factor of two on other objects, as far as these tell."""
        is_shown = not self.different.is_extrapolated(self.careful_rate(false_match_rate))
        return self._differs_little(false_match_rate) and is_shown and not self._is_rare_for_clusters(false_match_rate)

    def warnings(self, rate: float) -> dict[str, str]:
        """What to know about the threshold at a false-match rate: sentences, by their kinds."""
        told = {}
        if self.different.is_extrapolated(self.careful_rate(rate)):
            told["extrapolated"] = (
                f"{self.different.num_scores} similarities of different objects are too few to show a false-match rate "
                f"of {rate:.3g}: the threshold is extrapolated from the largest of them"
            )
        if self.same.is_extrapolated(rate):
            told["few pairs of one object"] = (
                f"{self.same.num_scores} pairs of one object are too few to show which similarity all but {rate:.3g} "
                "of them reach: where images count as different is extrapolated"
            )
        factor = self.factor(rate)
        if factor is not None and not self._differs_little(rate):
            least = self.least_rate()
            count = "" if self.num_objects is None else f" ({self.num_objects})"
            surer = "no rate is sure to a factor of 2"
            if least is not None:
                surer = f"from {rounded_up(least):g} on it is within a factor of 2"
            told["few objects"] = (
                f"the threshold comes from few objects{count}, or some look very much alike: on others the false-match "
                f"rate can well be {factor_in_words(factor)} times the {rate:.3g} asked for ({surer})"
            )
        if self._is_rare_for_clusters(rate):
            told["no labels"] = (
                f"made without labels: a false-match rate below {SURE_WITHOUT_LABELS:g} may be twice as high as asked "
                "for, where similar objects share clusters, or far lower, where an object has several; labels make sure"
            )
        return told

    def warning(self, rate: float) -> str | None:
        """``warnings`` in one line; None: nothing."""
        return "; ".join(self.warnings(rate).values()) or None

    def _is_rare_for_clusters(self, rate: float) -> bool:
        return not self.labelled and rate < SURE_WITHOUT_LABELS

    def _differs_little(self, rate: float) -> bool:
        factor = self.factor(rate)
        many = self.num_objects is None or self.num_objects >= FEWEST_OBJECTS
        return factor is not None and factor <= KEPT_FACTOR and many

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for a checkpoint or a file."""
        spreads = None if self.spreads is None else list(self.spreads)
        return asdict(self) | {
            "different": self.different.to_dict(),
            "same": self.same.to_dict(),
            "spreads": spreads,
            "strangers": None if self.strangers is None else self.strangers.to_dict(),
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
            strangers = values.get("strangers")
            known = {
                "spreads": None if spreads is None else tuple(spreads),
                "strangers": None if strangers is None else StrangerScores.from_dict(strangers),
                **tails,
            }
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
