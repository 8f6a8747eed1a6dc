"""The flags that ``spcl cluster`` and ``spcl suggest`` have in common."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from spcl.cli.options import EncodingOptions, at_least
from spcl.cli.pair_flags import PairFlags
from spcl.errors import InputError

Auto = Literal["auto"]


@dataclass(frozen=True, kw_only=True)
class GroupingOptions(EncodingOptions, PairFlags):
    """Which encoder looks at a folder of crops, and the least that counts as a group."""

    min_samples: int = 4
    """About the smallest number of images in a group (DBSCAN: neighbours of a core sample, itself included)."""

    def check(self) -> None:
        """Check the shared options, then the least number of images."""
        super().check()
        at_least("--min-samples", self.min_samples, 2)


def check_grouping_settings(eps: float | Auto, counts: Mapping[str, int | Auto]) -> None:
    """Raise an ``InputError`` for settings of the label stage that are out of range.

    Args:
        eps: Largest distance of two neighbours in a group.
        counts: Numbers of neighbours, by their flags.
    """
    if eps != "auto" and not 0.02 <= eps < 0.98:
        raise InputError(
            f"--eps is {eps:g}; expected auto, or a distance from 0.02 to below 0.98", code="setting-out-of-range"
        )
    for flag, value in counts.items():
        if value != "auto":
            at_least(flag, value, 1)
