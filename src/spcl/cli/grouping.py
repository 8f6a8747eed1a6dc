"""What ``spcl cluster`` and ``spcl suggest`` have in common: crops to a feature pass to settings that fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from spcl.cli.options import EncodingOptions, at_least

if TYPE_CHECKING:
    from spcl.engine.journal import Reporter
    from spcl.engine.own_images import SearchedImages
    from spcl.records import Record
    from spcl.runtime import Runtime
    from spcl.selfpaced.suggestion import Suggestion

Auto = Literal["auto"]


@dataclass(frozen=True, kw_only=True)
class GroupingOptions(EncodingOptions):
    """Which encoder looks at a folder of crops, and the least that counts as a group."""

    min_samples: int = 4
    """About the least number of images of a group."""

    def check(self) -> None:
        """As for all; and the least number of images."""
        super().check()
        at_least("--min-samples", self.min_samples, 2)


def searched_images(
    options: GroupingOptions,
    records: Sequence[Record],
    *,
    k1: int | Auto = "auto",
    memory_flags: Sequence[str] = (),
    runtime: Runtime,
    report: Reporter,
) -> SearchedImages:
    """Features of crops and their neighbours, as ``embed_and_search`` gives them.

    Args:
        options: Which encoder.
        records: The crops.
        k1: Neighbours to be looked at.
        memory_flags: Flags of the command that need less memory where it is short, for the error.
        runtime: Device and precision.
        report: Receives progress.
    """
    from spcl.engine.own_images import embed_and_search

    return embed_and_search(
        records,
        choice=options.choice(),
        k1=k1,
        min_samples=options.min_samples,
        workers=options.workers,
        runtime=runtime,
        memory_flags=memory_flags,
        report=report,
    )


def suggested(
    searched: SearchedImages,
    options: GroupingOptions,
    *,
    eps: float | Auto = "auto",
    k1: int | Auto = "auto",
    k2: int | Auto = "auto",
    report: Reporter,
) -> Suggestion:
    """Settings that fit the crops; what is given is kept."""
    from spcl.selfpaced.suggestion import suggest

    with report.progress("trying settings") as advance:
        return suggest(
            searched.images.features,
            eps=eps,
            k1=k1,
            k2=k2,
            min_samples=options.min_samples,
            neighbours=searched.neighbours,
            progress=advance,
        )
