"""Two encoders on the same queries: which became better, and which worse."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from spcl.pages.charts import Bars, Mark, histogram
from spcl.pages.pictures import PictureBook
from spcl.pages.ranked_images import Ranked
from spcl.pages.rankings import ShownHit, ShownQuery, shown_queries
from spcl.pages.shown_images import ShownImages

_SHOWN = 10
_LEAST_CHANGE = 0.001
_BARS = 40


@dataclass(frozen=True)
class ShownSide(ShownQuery):
    """What a query finds with one of the two encoders."""

    def shown(self) -> list[tuple[ShownHit, str]]:
        """Give the query and its hits, each with its kind: ``isq``, ``right`` or ``wrong``."""
        return [(self.query, "isq"), *((hit, "right" if hit.right else "wrong") for hit in self.hits)]


@dataclass(frozen=True)
class ComparedQuery:
    """A query with both encoders.

    Attributes:
        name: File name of the query.
        before: Average precision with the first encoder.
        after: Average precision with the second encoder.
        found: What it finds with the first and with the second encoder.
    """

    name: str
    before: float
    after: float
    found: tuple[ShownSide, ShownSide]


@dataclass(frozen=True)
class ComparisonSection:
    """Two encoders, query by query.

    Attributes:
        names: Names of both encoders.
        before: mAP of the first one.
        after: mAP of the second one.
        num_better: Number of queries whose average precision rose.
        num_worse: Number of queries whose average precision fell.
        num_equal: Number of other queries.
        chart: Histogram of the changes.
        better: The queries that rose most.
        worse: The queries that fell most.
        every: Path and both average precisions of each query, the largest fall first.
    """

    names: tuple[str, str]
    before: float
    after: float
    num_better: int
    num_worse: int
    num_equal: int
    chart: Markup
    better: tuple[ComparedQuery, ...]
    worse: tuple[ComparedQuery, ...]
    every: tuple[tuple[str, float, float], ...]


def comparison_section(
    images: tuple[ShownImages, ShownImages], ranked: tuple[Ranked, Ranked], names: tuple[str, str], book: PictureBook
) -> ComparisonSection:
    """Compare two encoders on the queries that both could rank.

    Args:
        images: The images with the features of each encoder; the same images in the same order.
        ranked: The ranking of each encoder, of the same queries and gallery.
        names: Names of the encoders.
        book: Book that the pictures are asked of.
    """
    before, after = (each.result.per_query_ap for each in ranked)
    both = np.flatnonzero(~np.isnan(before) & ~np.isnan(after))
    change = after[both] - before[both]
    order = np.argsort(change, kind="stable")
    worse = both[order[change[order] < -_LEAST_CHANGE]][:_SHOWN]
    better = both[order[::-1][change[order[::-1]] > _LEAST_CHANGE]][:_SHOWN]
    limit = max(0.05, float(np.abs(change).max(initial=0.0)))
    counts = np.histogram(change, _BARS, (-limit, limit))[0] / max(1, len(change))
    paths = [str(images[0].records[int(row)].path) for row in ranked[0].query_rows]
    return ComparisonSection(
        names=names,
        before=ranked[0].result.mean_ap,
        after=ranked[1].result.mean_ap,
        num_better=int((change > _LEAST_CHANGE).sum()),
        num_worse=int((change < -_LEAST_CHANGE).sum()),
        num_equal=int((np.abs(change) <= _LEAST_CHANGE).sum()),
        chart=histogram(
            [Bars("queries", counts.tolist(), 0)],
            -limit,
            limit,
            title="Histogram of the change of the average precision of each query",
            x_title="change of the average precision",
            marks=[Mark(0.0, "no change")],
        ),
        better=_compared(images, ranked, better, book),
        worse=_compared(images, ranked, worse, book),
        every=tuple((paths[row], float(before[row]), float(after[row])) for row in both[order].tolist()),
    )


def _compared(
    images: tuple[ShownImages, ShownImages],
    ranked: tuple[Ranked, Ranked],
    queries: NDArray[np.int64],
    book: PictureBook,
) -> tuple[ComparedQuery, ...]:
    if not len(queries):
        return ()
    sides: Sequence[tuple[ShownQuery, ...]] = [
        shown_queries(each, ranking, queries, None, book) for each, ranking in zip(images, ranked, strict=True)
    ]
    return tuple(
        ComparedQuery(
            first.query.name,
            float(first.average_precision or 0.0),
            float(second.average_precision or 0.0),
            (ShownSide(**vars(first)), ShownSide(**vars(second))),
        )
        for first, second in zip(*sides, strict=True)
    )
