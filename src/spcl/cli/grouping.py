"""The flags that ``spcl cluster`` and ``spcl suggest`` have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from spcl.cli.options import EncodingOptions, at_least
from spcl.cli.pair_flags import PairFlags

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
