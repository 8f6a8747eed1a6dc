"""Pictures of an epoch: its largest clusters, and what queries find."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spcl.engine.evaluate import EvaluationResult
from spcl.records import ReIDDataset
from spcl.report.groups import sheet_rows
from spcl.report.per_query import query_picture, query_results
from spcl.report.sheet import contact_sheet
from spcl.training.events import Evaluated

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
        evaluated: Its evaluation.
        size: Height and width of the images that the encoder sees.

    Returns:
        Whether there was one: not where the protocol draws several galleries.
    """
    if evaluated.hits is None or not target.query:
        return False
    found = EvaluationResult(evaluated.ranking, None, len(target.query), len(target.gallery), (), evaluated.hits)
    results = query_results(found, target)
    spread = np.unique(np.linspace(0, len(results) - 1, min(_QUERIES, len(results))).round().astype(int))
    query_picture(path, [results[at] for at in spread], size)
    return True
