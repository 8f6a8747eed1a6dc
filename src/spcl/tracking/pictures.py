"""Pictures of an epoch: its largest clusters, and what queries find."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spcl.grouping.groups_folder import sheet_rows
from spcl.records import Record, ReIDDataset
from spcl.report.ranked import Ranking, ShownImage, picture_of, ranked_picture
from spcl.report.sheet import contact_sheet
from spcl.reporting.events import Evaluated

_QUERIES = 8


def by_size(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Pseudo labels as numbers of groups: the largest is 0; -1 where an image is the only one with its label.

    Args:
        labels: ``[N]`` int64.

    Returns:
        ``[N]`` int64; of groups of one size the one with the smaller label comes first.

    Examples:
        >>> by_size(np.array([0, 1, 2, 2, 1, 3, 2]))
        array([-1,  1,  0,  0,  1, -1,  0])
    """
    _, place, counts = np.unique(labels, return_inverse=True, return_counts=True)
    rank = np.empty(len(counts), dtype=np.int64)
    rank[np.argsort(-counts, kind="stable")] = np.arange(len(counts))
    rank[counts == 1] = -1
    return rank[place]


def draw_clusters(path: Path, target: ReIDDataset, labels: NDArray[np.int64]) -> bool:
    """Draw the largest clusters of the target's training images, each as a row, and some images without a cluster.

    Args:
        path: Path of the PNG file to write.
        target: The data set.
        labels: ``[N]`` of its training images.

    Returns:
        Whether there was an image to draw.
    """
    rows = sheet_rows(target.train, by_size(labels))
    if rows:
        contact_sheet(path, rows, caption="clusters by size; images in the order of the data set")
    return bool(rows)


def draw_rankings(path: Path, target: ReIDDataset, evaluated: Evaluated, size: tuple[int, int]) -> bool:
    """Draw some queries with their first hits: the same ones in each epoch, spread evenly over the data set.

    Args:
        path: Path of the PNG file to write.
        target: The data set.
        evaluated: Evaluation of the data set.
        size: Height and width of the images that the encoder sees.

    Returns:
        Whether there was one: not where the protocol draws several galleries.
    """
    if evaluated.hits is None or not target.query:
        return False
    num_queries = len(target.query)
    chosen = np.unique(np.linspace(0, num_queries - 1, min(_QUERIES, num_queries)).round().astype(int))

    def shown(record: Record, query: Record | None = None) -> ShownImage:
        return ShownImage(picture_of(record.path, size), None if query is None else record.identity == query.identity)

    # Without words under the images: it is drawn at each evaluation, and small.
    found = [
        [shown(target.gallery[row], target.query[number]) for row in evaluated.hits.rows[number] if row >= 0]
        for number in chosen
    ]
    title = f"mAP {100 * evaluated.ranking.mean_ap:.1f}%, top-1 {100 * evaluated.ranking.top(1):.1f}%"
    ranked_picture(path, [shown(target.query[number]) for number in chosen], [Ranking(title, found)])
    return True
