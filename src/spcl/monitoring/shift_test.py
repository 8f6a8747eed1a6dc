"""Whether the values of two sets of images have one distribution: a Kolmogorov-Smirnov test for images in groups.

Images of one object are alike, so that a hundred images of ten objects say less than a hundred images of a hundred. The
plain test does not know that, and calls such sets different too often. Here the statistic of two sets that have one
distribution is measured first: both are drawn from the reference, whole groups at a time. From what it exceeds once in
twenty draws follows the number of independent images, and from that the p-value by Kolmogorov's distribution.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import erfc, kolmogorov

_DRAWS = 200
_MATCHED = 0.95
"""The quantile of the measured statistic that is matched: alarms are in the tail, which is heavier for images in groups
than the median would suggest."""

_KOLMOGOROV = 1.3580986393225505
_NORMAL = 1.959963984540054
"""The same quantile of Kolmogorov's distribution, and of the absolute value of a standard normal number."""


@dataclass(frozen=True)
class Shift:
    """The comparison of the values of two sets.

    Attributes:
        statistic: Largest difference of the two cumulative shares, 0 to 1; of a rate: the difference of the rates.
        p_value: Probability of such a statistic, or a larger one, if both sets have one distribution.
        num_independent: Number of independent images to which both sets together amount; of a rate: not a number.
    """

    statistic: float
    p_value: float
    num_independent: float


def shift_of(
    reference: NDArray[np.float64],
    groups: NDArray[np.int64],
    new: NDArray[np.float64],
    rng: np.random.Generator,
    *,
    is_rate: bool = False,
) -> Shift:
    """Compare new values with those of a reference.

    Args:
        reference: ``[n]`` values, finite.
        groups: ``[n]`` numbers of the groups of the reference's images: images of one object have one number. The
            groups of the new images are taken to be of the same sizes.
        new: ``[m]`` values, finite.
        rng: Draws the groups.
        is_rate: Whether the values are 0 and 1.

    Raises:
        ValueError: If one of both is empty.
    """
    if not len(reference) or not len(new):
        raise ValueError("no values are given; expected at least one in the reference and one that is new")
    statistic = largest_difference(reference, new)
    order = np.argsort(groups, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(groups[order]) != 0])
    members = np.split(reference[order], starts[1:])
    drawn = [
        largest_difference(_drawn(members, len(reference), rng), _drawn(members, len(new), rng)) for _ in range(_DRAWS)
    ]
    # The spread of few groups is that of groups with replacement, which is too small.
    quantile = float(np.quantile(drawn, _MATCHED)) * (len(members) / max(1, len(members) - 1)) ** 0.5
    nominal = len(reference) * len(new) / (len(reference) + len(new))
    if is_rate:
        # A little more than the rate of both together: no unknown image so far does not mean that none can come.
        share = float((reference.sum() + new.sum() + 2) / (len(reference) + len(new) + 4))
        deviation = max(quantile / _NORMAL, (share * (1 - share) / nominal) ** 0.5)
        return Shift(statistic, float(erfc(statistic / deviation / 2**0.5)), float("nan"))
    root = min(_KOLMOGOROV / quantile if quantile else np.inf, nominal**0.5)
    return Shift(statistic, float(kolmogorov(statistic * root)), root**2)


def largest_difference(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """The statistic of Kolmogorov and Smirnov: the largest difference of the cumulative shares of two sets."""
    first, second = np.sort(first), np.sort(second)
    both = np.concatenate([first, second])
    shares = [np.searchsorted(each, both, side="right") / len(each) for each in (first, second)]
    return float(np.abs(shares[0] - shares[1]).max())


def holm(p_values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Adjust p-values for their number (Holm 1979): the smallest one is multiplied by it, the next by one less."""
    order = np.argsort(p_values)
    factors = np.arange(len(p_values), 0, -1)
    adjusted = np.empty_like(p_values)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(p_values[order] * factors))
    return adjusted


def _drawn(members: list[NDArray[np.float64]], count: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Draw whole groups, with replacement, until there are ``count`` values."""
    found: list[NDArray[np.float64]] = []
    num = 0
    while num < count:
        for place in rng.integers(0, len(members), max(1, (count - num) * len(members) // max(1, _size(members)))):
            found.append(members[place])
            num += len(members[place])
    values = np.concatenate(found)
    at = int(rng.integers(0, len(values) - count + 1))
    return values[at : at + count]


def _size(members: list[NDArray[np.float64]]) -> int:
    return sum(map(len, members))
