"""Is the new encoder worse than the old one? One rule, by figures that need no labels.

The figures are in ``label_free_quality.py``; ``docs/adapt.md`` says on what runs the rule was tried, with labels for
measurement, and where it failed.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from math import sqrt
from typing import Any

from spcl.selfpaced.label_free_quality import LabelFreeQuality

LEAST_SHARE_OF_DIMENSIONS = 0.5
LEAST_SHARE_ACROSS_CAMERAS = 0.85
NOTICEABLE_ERRORS = 1.0
"""Standard errors of ``found_again`` by which it must fall."""


@dataclass(frozen=True)
class Verdict:
    """Which encoder to keep.

    Attributes:
        keeps_new: Whether nothing says that the new one is worse.
        reasons: What says that it is worse, a sentence each; empty where it is kept.
        words: The verdict in one line.
    """

    keeps_new: bool
    reasons: tuple[str, ...]
    words: str

    def to_dict(self) -> dict[str, Any]:
        """Give the values as plain types, for a file."""
        return asdict(self) | {"reasons": list(self.reasons)}


def judge(before: LabelFreeQuality, after: LabelFreeQuality) -> Verdict:
    """The new encoder is worse when one of three figures says so, and is kept otherwise.

    1. ``found_again`` fell by more than its standard error: it recognises altered copies of crops less often.
    2. ``effective_dimensions`` fell to less than half: it is collapsing.
    3. ``across_cameras`` fell by more than 15 % (where cameras are known): it goes by the camera more than before.

    Cluster figures decide nothing: training makes clusters tight, right or wrong.

    Args:
        before: Of the old encoder.
        after: Of the new one, on the same images.
    """
    checks = (_recognition, _collapse, _cameras)
    reasons = tuple(reason for check in checks if (reason := check(before, after)) is not None)
    if reasons:
        return Verdict(False, reasons, f"the new encoder is worse: {'; '.join(reasons)}")
    return Verdict(True, (), "nothing says that the new encoder is worse")


def _recognition(before: LabelFreeQuality, after: LabelFreeQuality) -> str | None:
    if before.found_again is None or after.found_again is None:
        return None
    # Of the difference of two shares of the same images; their correlation only makes it smaller.
    error = sqrt(sum(share * (1 - share) for share in (before.found_again, after.found_again)) / after.num_images)
    if before.found_again - after.found_again <= NOTICEABLE_ERRORS * error:
        return None
    return (
        f"altered copies of the crops find their original or its like in {100 * after.found_again:.0f}% of cases, "
        f"{100 * before.found_again:.0f}% before"
    )


def _collapse(before: LabelFreeQuality, after: LabelFreeQuality) -> str | None:
    if after.effective_dimensions >= LEAST_SHARE_OF_DIMENSIONS * before.effective_dimensions:
        return None
    return (
        f"its features collapse into {after.effective_dimensions:.0f} directions, "
        f"{before.effective_dimensions:.0f} before"
    )


def _cameras(before: LabelFreeQuality, after: LabelFreeQuality) -> str | None:
    if before.across_cameras is None or after.across_cameras is None:
        return None
    if after.across_cameras >= LEAST_SHARE_ACROSS_CAMERAS * before.across_cameras:
        return None
    return (
        f"neighbours from other cameras are {100 * after.across_cameras:.0f}% of what chance would give, "
        f"{100 * before.across_cameras:.0f}% before"
    )
