"""Calibration of similarities: the probability that two images show one object, and thresholds at false-match rates.

The probability is a monotone function of the similarity, fitted to pairs of one object and pairs of different objects
as if both were equally frequent (a prior of 0.5). The fit is a beta calibration (``beta_calibration.py``), which unlike
logistic calibration follows similarities close to 1. The threshold at a false-match rate is the similarity that this
share of the different-object pairs reaches (``score_tails.py``); ``rate_spread.py`` estimates its error for other
objects.

The pairs are chosen in ``verification/calibration_pairs.py``; identities are named in ``identification.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spcl.verification.beta_calibration import fit_beta_calibration, logarithms
from spcl.verification.rate_spread import (
    KEPT_FACTOR,
    SPREAD_RATES,
    factor_in_words,
    spread_at,
    spreads_over_objects,
)
from spcl.verification.score_tails import FEWEST_SCORES, ScoreTail
from spcl.verification.stored_values import check_kind, check_number, check_numbers, check_whole
from spcl.verification.stranger_scores import StrangerScores
from spcl.verification.thresholds import MOST_SIMILAR, Limit, Threshold, check_rate

Verdict = Literal["same", "different", "unsure"]

FEWEST_OBJECTS = 20
"""Number of objects from which the error of a rate is estimated; fewer do not show how much objects differ."""

SURE_WITHOUT_LABELS = 0.01
"""Lowest rate that is trusted without labels, however many clusters there are."""

_MOST_LOG_ODDS = 30.0


@dataclass(frozen=True)
class Calibration:
    """Maps similarities of one encoder to probabilities and false-match rates.

    Attributes:
        to_one: Coefficient of ``-log((1 - similarity) / 2)`` in the log odds; not negative.
        from_minus_one: Coefficient of ``log((1 + similarity) / 2)`` in the log odds; not negative.
        offset: Constant term of the log odds.
        different: Distribution of the similarities of different objects.
        same: Distribution of the negated similarities of images of one object.
        spreads: Relative standard error of each rate of ``SPREAD_RATES`` for objects that were not in the fit; None if
            the objects of the pairs are unknown.
        labelled: Whether objects are known from labels; thresholds are then made stricter by this error.
        num_objects: Number of objects, or of clusters in their place, in the fit; None if it is unknown.
        strangers: Best similarities of strangers to enrolled identities; None if they were not measured.
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
        """Fit a calibration to similarities of pairs.

        Args:
            same: ``[n]`` similarities of two images of one object, -1 to 1.
            different: ``[m]`` similarities of images of two objects, -1 to 1.
            different_groups: ``[m, 2]`` numbers of the two objects of each pair, from 0. The error of a rate for other
                objects depends on the number of objects, not of pairs. None: unknown.
            num_same: Number of independent values in ``same``, if some are repeated; None: all.
            num_objects: Number of objects behind these numbers, if it differs from the number of numbers.
            labelled: Whether objects are known from labels; thresholds are then made stricter if objects are few.
                Without labels, pairs of one object among ``different`` have the same effect.
            strangers: Scores of strangers, measured on the same images, for thresholds of enrolled identities.

        Raises:
            ValueError: If there are fewer than ten values of either kind, a value is no similarity, or images of one
                object are not more similar than images of two.
        """
        alike, unlike = _checked(same, "same-object"), _checked(different, "different-object")
        if np.median(alike) <= np.median(unlike):
            raise ValueError(
                f"images of one object are not more similar (median {np.median(alike):.3f}) than images of different "
                f"objects (median {np.median(unlike):.3f}): similarity does not separate them"
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
        """Give the probability that two images show one object, for a prior of 0.5.

        Args:
            similarities: Cosine similarities, of any shape.

        Returns:
            Values in (0, 1) of the same shape, increasing with the similarity.
        """
        to_one, from_minus_one = logarithms(np.asarray(similarities, dtype=np.float64))
        log_odds = self.offset + self.to_one * to_one + self.from_minus_one * from_minus_one
        return np.asarray(1 / (1 + np.exp(-np.clip(log_odds, -_MOST_LOG_ODDS, _MOST_LOG_ODDS))), dtype=np.float64)

    def threshold(self, false_match_rate: float = 0.01) -> Threshold:
        """Give the similarity that this share of the different-object pairs reaches.

        Raises:
            ValueError: If the rate is not between 0 and 1.
        """
        check_rate(false_match_rate)
        similarity = min(self.different.height(self.careful_rate(false_match_rate)), MOST_SIMILAR)
        true_rate = 1 - float(self.same.share_above(np.nextafter(-similarity, np.inf)))
        return Threshold(similarity, false_match_rate, true_rate, self.warning(false_match_rate))

    def lower_threshold(self, false_match_rate: float = 0.01) -> float:
        """Give the similarity below which two images count as different objects, with this share of same-object pairs.

        It is never above ``threshold``.
        """
        return min(-self.same.height(false_match_rate), self.threshold(false_match_rate).similarity)

    def verdict(self, similarity: float, false_match_rate: float = 0.01) -> Verdict:
        """Give ``same`` from ``threshold`` on, ``different`` below ``lower_threshold``, otherwise ``unsure``."""
        if similarity >= self.threshold(false_match_rate).similarity:
            return "same"
        return "different" if similarity < self.lower_threshold(false_match_rate) else "unsure"

    def careful_rate(self, false_match_rate: float) -> float:
        """Give the stricter rate for these objects with which other objects meet the requested rate on average."""
        # Other objects exceed a quantile of few objects more often, on average by the square of its relative error.
        spread = (self.spread(false_match_rate) or 0.0) if self.labelled else 0.0
        return false_match_rate / (1 + spread**2)

    def spread(self, false_match_rate: float) -> float | None:
        """Give the relative standard error of a rate for other objects; None if it is unknown."""
        return None if self.spreads is None else spread_at(false_match_rate, self.spreads)

    def factor(self, false_match_rate: float) -> float | None:
        """Give the factor by which a rate may differ on as many other objects: two standard errors of both together.

        None if the objects of the pairs are unknown.
        """
        spread = self.spread(false_match_rate)
        return None if spread is None else float(np.exp(2 * np.sqrt(2) * spread))

    def least_rate(self) -> float | None:
        """Give the smallest false-match rate that holds within a factor of two for other objects.

        None if no rate does, or the objects of the pairs are unknown. At most 0.1.
        """
        least = None
        for rate in np.geomspace(SPREAD_RATES[0], SPREAD_RATES[-1], 61).tolist():
            if not self.is_kept(rate):
                break
            least = rate
        return least

    def is_kept(self, false_match_rate: float) -> bool:
        """Whether a rate is estimated to hold within a factor of two for other objects."""
        is_shown = not self.different.is_extrapolated(self.careful_rate(false_match_rate))
        return self._differs_little(false_match_rate) and is_shown and not self._is_rare_for_clusters(false_match_rate)

    def warnings(self, rate: float) -> dict[Limit, str]:
        """Give the limits of the threshold at a false-match rate: a short sentence for each code."""
        found: dict[Limit, str] = {}
        if self.different.is_extrapolated(self.careful_rate(rate)):
            found["extrapolated"] = (
                f"the threshold is extrapolated from {self.different.num_scores} pairs of different objects"
            )
        if self.same.is_extrapolated(rate):
            found["few-same-pairs"] = (
                f"the limit for different objects is extrapolated from {self.same.num_scores} pairs of one object"
            )
        factor = self.factor(rate)
        if factor is not None and not self._differs_little(rate):
            count = "" if self.num_objects is None else f" ({self.num_objects})"
            found["few-objects"] = (
                f"few or similar objects{count}: on others the rate can be {factor_in_words(factor)} times as high"
            )
        if self._is_rare_for_clusters(rate):
            found["no-labels"] = (
                "calibrated without labels: a rate this low can be twice as high as requested, or far lower"
            )
        return found

    def warning(self, rate: float) -> str | None:
        """Join ``warnings`` to one line; None: there are none."""
        return in_one_line(self.warnings(rate))

    def _is_rare_for_clusters(self, rate: float) -> bool:
        return not self.labelled and rate < SURE_WITHOUT_LABELS

    def _differs_little(self, rate: float) -> bool:
        factor = self.factor(rate)
        many = self.num_objects is None or self.num_objects >= FEWEST_OBJECTS
        return factor is not None and factor <= KEPT_FACTOR and many

    def to_dict(self) -> dict[str, Any]:
        """Give the calibration as plain values, for a checkpoint or a file."""
        spreads = None if self.spreads is None else list(self.spreads)
        return asdict(self) | {
            "different": self.different.to_dict(),
            "same": self.same.to_dict(),
            "spreads": spreads,
            "strangers": None if self.strangers is None else self.strangers.to_dict(),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Calibration:
        """Build a calibration from the values that ``to_dict`` gave.

        Raises:
            ValueError: If a value is missing, unknown, or cannot be that of a calibration.
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
            found = cls(**(dict(values) | known))
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a calibration: {error}") from error
        check_number(found.to_one, "to_one", 0)
        check_number(found.from_minus_one, "from_minus_one", 0)
        check_number(found.offset, "offset")
        if found.spreads is not None:
            check_numbers(found.spreads, "spreads", most=len(SPREAD_RATES), low=0)
        check_kind(found.labelled, bool, "labelled")
        if found.num_objects is not None:
            check_whole(found.num_objects, "num_objects")
        return found


def in_one_line(limits: Mapping[Limit, str]) -> str | None:
    """Join sentences of ``Calibration.warnings`` to one line that names the page; None: there are none."""
    return f"{'; '.join(limits.values())} (docs/compare.md)" if limits else None


def _checked(similarities: ArrayLike, name: str) -> NDArray[np.float64]:
    values = np.asarray(similarities, dtype=np.float64).reshape(-1)
    if len(values) < FEWEST_SCORES:
        raise ValueError(f"there are {len(values)} {name} pairs; a calibration needs at least {FEWEST_SCORES}")
    if not np.isfinite(values).all() or np.abs(values).max() > 1 + 1e-4:
        raise ValueError(f"similarities of {name} pairs must lie between -1 and 1: are the features of unit length?")
    return np.clip(values, -1, 1)
