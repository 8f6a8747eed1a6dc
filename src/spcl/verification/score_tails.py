"""The distribution of similarities: quantiles from a sample, extrapolated beyond it.

A false-match rate of 1 in 1000 needs the similarity that one different-object pair in 1000 reaches. If the sample has
enough pairs above it, this is an empirical quantile; beyond, it is extrapolated by the generalised Pareto
distribution, the limit of every well-behaved tail (Pickands 1975), fitted to the highest similarities by
probability-weighted moments (Hosking and Wallis 1987). Decisions are in ``calibration.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spcl.verification.stored_values import check_number, check_numbers, check_rising, check_whole

FEWEST_SCORES = 10
"""Smallest number of scores from which a distribution is estimated."""

_FEWEST_ABOVE = 10
"""Number of scores above a quantile from which it is taken from the sample."""

_TAIL_SHARE = 0.02
_FEWEST_IN_TAIL = 50
_NUM_KNOTS = 65
_SHAPES = (-0.5, 0.25)
"""Range of the fitted shape: similarities end at 1, so their tail is bounded or nearly exponential."""


@dataclass(frozen=True)
class ScoreTail:
    """The share of scores at or above each height (score).

    Attributes:
        shares: ``[M]`` descending from 1 to the smallest that the sample shows.
        heights: ``[M]`` ascending, the height that each share reaches.
        tail_scale: Scale of the generalised Pareto tail, in units of the scores; 0: the tail is one value.
        tail_shape: Shape of the tail; negative: it is bounded.
        tail_share: Share of the scores that the tail was fitted to.
        num_scores: Number of scores in the sample.
    """

    shares: tuple[float, ...]
    heights: tuple[float, ...]
    tail_scale: float
    tail_shape: float
    tail_share: float
    num_scores: int

    @classmethod
    def from_scores(cls, scores: ArrayLike, *, num_own: int | None = None) -> ScoreTail:
        """Estimate the distribution from a sample.

        Args:
            scores: ``[n]`` finite numbers, n at least ``FEWEST_SCORES``.
            num_own: Number of independent scores, if some are repeated to give them more weight; None: all.

        Raises:
            ValueError: If there are too few scores, or one is NaN or infinite.
        """
        values = np.sort(np.asarray(scores, dtype=np.float64).reshape(-1))
        if len(values) < FEWEST_SCORES:
            raise ValueError(f"there are {len(values)} scores; their distribution needs at least {FEWEST_SCORES}")
        if not np.isfinite(values).all():
            raise ValueError("a score is not finite")
        size = len(values) if num_own is None else num_own
        shares = np.geomspace(1.0, max(1, min(_FEWEST_ABOVE, size // 4)) / size, _NUM_KNOTS)
        heights = np.quantile(values, 1 - shares)
        num_tail = min(len(values) // 2, max(_FEWEST_IN_TAIL, round(_TAIL_SHARE * len(values))))
        scale, shape = _pareto_of(values[-num_tail:] - values[-num_tail - 1])
        return cls(
            shares=tuple(shares.tolist()),
            heights=tuple(heights.tolist()),
            tail_scale=scale,
            tail_shape=shape,
            tail_share=num_tail / len(values),
            num_scores=size,
        )

    def height(self, share: float) -> float:
        """Give the height that a share of all scores reaches.

        Args:
            share: Share of the scores, above 0 and at most 1.

        Raises:
            ValueError: If the share is out of range.
        """
        if not 0 < share <= 1:
            raise ValueError(f"a share is {share}; expected above 0 and at most 1")
        least = self.shares[-1]
        if share >= least:
            return float(np.interp(-np.log(share), -np.log(self.shares), self.heights))
        # Continued from the end of the sample, so that there is no step.
        return self.heights[-1] + self._above_tail_start(share) - self._above_tail_start(least)

    def share_above(self, heights: ArrayLike) -> NDArray[np.float64]:
        """Give the share of all scores that reach each height, the inverse of ``height``, in the same shape."""
        wanted = np.asarray(heights, dtype=np.float64)
        inside = np.exp(np.interp(wanted, self.heights, np.log(self.shares)))
        over = np.maximum(wanted - self.heights[-1], 0) + self._above_tail_start(self.shares[-1])
        if self.tail_scale <= 0:
            beyond = np.zeros_like(wanted)
        elif abs(self.tail_shape) < 1e-9:
            beyond = self.tail_share * np.exp(-over / self.tail_scale)
        else:
            base = np.maximum(1 + self.tail_shape * over / self.tail_scale, 0)
            with np.errstate(divide="ignore"):
                beyond = self.tail_share * base ** (-1 / self.tail_shape)
        return np.where(wanted > self.heights[-1], beyond, inside)

    def is_extrapolated(self, share: float) -> bool:
        """Whether the height of a share is extrapolated beyond the sample."""
        return share < self.shares[-1]

    def to_dict(self) -> dict[str, Any]:
        """Give the values as plain types."""
        return asdict(self) | {"shares": list(self.shares), "heights": list(self.heights)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ScoreTail:
        """Build a distribution from the values that ``to_dict`` gave.

        Raises:
            ValueError: If a value is missing, unknown, or cannot be that of a distribution.
        """
        try:
            found = cls(**(dict(values) | {name: tuple(values[name]) for name in ("shares", "heights")}))
        except (KeyError, TypeError) as error:
            raise ValueError(f"not the description of a distribution of scores: {error}") from error
        check_numbers(found.shares, "shares", low=1e-300, high=1)
        check_rising(found.shares[::-1], "shares from the last to the first")
        check_numbers(found.heights, "heights", length=len(found.shares))
        check_rising(found.heights, "heights")
        check_number(found.tail_scale, "tail_scale", 0)
        check_number(found.tail_shape, "tail_shape", -100, 100)
        check_number(found.tail_share, "tail_share", 1e-300, 1)
        check_whole(found.num_scores, "num_scores")
        return found

    def _above_tail_start(self, share: float) -> float:
        """Give the distance of a share's height from the start of the fitted tail."""
        ratio = min(1.0, share / self.tail_share)
        if abs(self.tail_shape) < 1e-9:
            return float(-self.tail_scale * np.log(ratio))
        return float(self.tail_scale * (ratio**-self.tail_shape - 1) / self.tail_shape)


def _pareto_of(excesses: NDArray[np.float64]) -> tuple[float, float]:
    """Fit scale and shape of the generalised Pareto distribution to ascending excesses, by weighted moments."""
    mean = float(excesses.mean())
    if mean <= 0:
        return 0.0, 0.0
    places = (np.arange(1, len(excesses) + 1) - 0.35) / len(excesses)
    weighted = float(((1 - places) * excesses).mean())
    decay = mean - 2 * weighted
    shape = float(np.clip(2 - mean / decay, *_SHAPES)) if decay > 0 else _SHAPES[1]
    # The scale that keeps the mean, also if the shape was clamped.
    return mean * (1 - shape), shape
