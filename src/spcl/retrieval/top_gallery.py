"""The first gallery images of each query, among those that count under a protocol, for tables and pictures."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spcl.arrays import Features
from spcl.neighbours.nearest import nearest_neighbours
from spcl.retrieval.matches import RankingLabels


class TopGallery(NamedTuple):
    """The nearest gallery images of each query.

    Attributes:
        rows: ``[Q, k]`` int64 rows of the gallery, nearest first; -1 where fewer images count.
        similarities: ``[Q, k]`` float32 inner products with the query; nan where fewer images count.
    """

    rows: NDArray[np.int64]
    similarities: NDArray[np.float32]


def top_gallery(
    query: Features,
    gallery: Features,
    labels: RankingLabels,
    *,
    k: int = 10,
) -> TopGallery:
    """Find the ``k`` nearest gallery images of each query that count under a protocol.

    Args:
        query: ``[Q, D]`` rows, of unit length for cosine similarity.
        gallery: ``[G, D]`` rows, of unit length for cosine similarity.
        labels: Identities and cameras of Q queries and G gallery images, and the protocol.
        k: Number of images for each query.

    Returns:
        TopGallery: rows and similarities of the nearest images.

    Raises:
        ValueError: If shapes do not fit, or a value is NaN or infinite.

    Cost: ``2 Q G D`` flops.
    """
    # More are searched, by the largest number that a query's camera can exclude.
    pairs = np.stack([labels.gallery, labels.gallery_cameras])
    most = int(np.unique(pairs, axis=1, return_counts=True)[1].max(initial=0)) if labels.protocol == "market1501" else 0
    nearest = nearest_neighbours(gallery, k + most, queries=query)
    left_out = (labels.gallery[nearest.indices] == labels.query[:, None]) & (
        labels.gallery_cameras[nearest.indices] == labels.query_cameras[:, None]
    )
    counted = np.argsort(left_out, axis=1, kind="stable")[:, :k]
    rows = np.take_along_axis(nearest.indices, counted, axis=1)
    similarities = np.take_along_axis(nearest.similarities, counted, axis=1)
    without = np.take_along_axis(left_out, counted, axis=1)
    rows[without], similarities[without] = -1, np.nan
    fewer = ((0, 0), (0, k - rows.shape[1]))
    return TopGallery(np.pad(rows, fewer, constant_values=-1), np.pad(similarities, fewer, constant_values=np.nan))
