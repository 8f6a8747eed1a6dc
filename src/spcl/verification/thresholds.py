"""A threshold for similarities, its limits by code, and the check of a false-match rate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from spcl.settings_checks import number_of

MOST_SIMILAR = 1 - 1e-6
"""Largest threshold."""

Limit = Literal["extrapolated", "few-same-pairs", "few-objects", "no-labels", "few-enrolled"]
"""Codes of the limits of a threshold; their sentences are in ``calibration.py`` and ``open_set_threshold.py``."""


@dataclass(frozen=True)
class Threshold:
    """The similarity from which two images count as one object.

    Attributes:
        similarity: Least similarity that counts as one object; always below 1, so that equal images are one object
            whatever the rounding.
        false_match_rate: Expected share of different-object pairs that reach the threshold; of the pairs that it was
            fitted to fewer reach it, if they are of few objects.
        true_match_rate: Share of same-object pairs that reach the threshold; None if it is unknown.
        warning: Limits of the threshold, in a sentence; None: there are none.
    """

    similarity: float
    false_match_rate: float
    true_match_rate: float | None
    warning: str | None


def check_rate(rate: float) -> None:
    """Check that a false-match rate is in range.

    Raises:
        ValueError: If the rate is not above 0 and below 1.
    """
    if not 0 < number_of(rate) < 1:
        raise ValueError(f"the false-match rate is {rate!r}; expected above 0 and below 1, for example 0.01")
