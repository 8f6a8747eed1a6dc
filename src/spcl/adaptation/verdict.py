"""Verdict on an adaptation: whether the new encoder is worse than the old one, by figures that need no labels.

The figures are in ``label_free_quality.py``; ``docs/adapt.md`` lists the runs on which the rule was tested with labels,
and those on which it failed.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from math import sqrt
from typing import Any

from spcl.grouping.label_free_quality import LabelFreeQuality

LEAST_SHARE_OF_DIMENSIONS = 0.5
LEAST_SHARE_ACROSS_CAMERAS = 0.85
NOTICEABLE_ERRORS = 1.0
"""Decrease of ``found_again``, in standard errors, from which the new encoder counts as worse."""


@dataclass(frozen=True)
class AdaptationVerdict:
    """The verdict on an adaptation.

    Attributes:
        keeps_new: Whether the new encoder is kept, because no figure shows that it is worse.
        reasons: The figures that show that it is worse, a sentence for each; empty if it is kept.
        words: The verdict in one line of text.
    """

    keeps_new: bool
    reasons: tuple[str, ...]
    words: str

    def to_dict(self) -> dict[str, Any]:
        """Give the values as plain types, for a file."""
        return asdict(self) | {"reasons": list(self.reasons)}


def judge(before: LabelFreeQuality, after: LabelFreeQuality) -> AdaptationVerdict:
    """Decide between two encoders: the new one is worse if one of three figures shows it, and is kept otherwise.

    1. ``found_again`` fell by more than its standard error: augmented copies of crops are retrieved less often.
    2. ``effective_dimensions`` fell to less than half: the encoder is collapsing.
    3. ``across_cameras`` fell by more than 15 % (if cameras are known): similarity depends more on the camera.

    Cluster figures are not used: training makes clusters tight whether they are right or wrong.

    Args:
        before: Figures of the old encoder.
        after: Figures of the new encoder, on the same images.
    """
    checks = (_recognition, _collapse, _cameras)
    reasons = tuple(reason for check in checks if (reason := check(before, after)) is not None)
    if reasons:
        return AdaptationVerdict(False, reasons, f"the new encoder is worse: {'; '.join(reasons)}")
    return AdaptationVerdict(True, (), "no figure shows that the new encoder is worse")


def _recognition(before: LabelFreeQuality, after: LabelFreeQuality) -> str | None:
    if before.found_again is None or after.found_again is None:
        return None
    # Standard error of the difference of two shares of the same images; their correlation only makes it smaller.
    error = sqrt(sum(share * (1 - share) for share in (before.found_again, after.found_again)) / after.num_images)
    if before.found_again - after.found_again <= NOTICEABLE_ERRORS * error:
        return None
    return (
        f"augmented copies of the crops find their original or a near duplicate in "
        f"{100 * after.found_again:.0f}% of cases, {100 * before.found_again:.0f}% before"
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
