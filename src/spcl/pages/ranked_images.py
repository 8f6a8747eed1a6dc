"""The gallery ranked for each query, by the same steps as an evaluation, from features that are known already."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spcl.inference.evaluation import left_out_by
from spcl.pages.shown_images import ShownImages, rows_of
from spcl.records import ReIDDataset, identities_of
from spcl.retrieval.matches import RankingLabels
from spcl.retrieval.ranking import RankingResult, rank_features


@dataclass(frozen=True)
class Ranked:
    """Queries and gallery of images, ranked.

    Attributes:
        query_rows: ``[Q]`` rows of the queries among the images.
        gallery_rows: ``[G]`` rows of the gallery.
        labels: Identities and cameras of both, and the protocol.
        result: mAP and top-k, and the figures of each query.
        protocol: Name of the protocol.
    """

    query_rows: NDArray[np.int64]
    gallery_rows: NDArray[np.int64]
    labels: RankingLabels
    result: RankingResult
    protocol: str


def rank_images(images: ShownImages, dataset: ReIDDataset) -> Ranked | None:
    """Rank the gallery of a data set for each of its queries; None where no query that was read has a match.

    Args:
        images: The images with their features; those that could not be read are missing.
        dataset: Its queries and gallery. VehicleID's protocol draws galleries; here every gallery image counts.
    """
    features = images.features
    if features is None:
        return None
    query, gallery = (rows_of(images, part) for part in (dataset.query, dataset.gallery))
    queries = tuple(record for record, row in zip(dataset.query, query, strict=True) if row >= 0)
    others = tuple(record for record, row in zip(dataset.gallery, gallery, strict=True) if row >= 0)
    query, gallery = query[query >= 0], gallery[gallery >= 0]
    protocol = "no-camera" if dataset.protocol == "vehicleid" else dataset.protocol
    records = queries + others
    cameras, ranked_as = left_out_by(records, protocol)
    identities, count = identities_of(records), len(queries)
    if not (count and len(others)):
        return None
    labels = RankingLabels.checked(
        identities[:count], identities[count:], cameras[:count], cameras[count:], protocol=ranked_as
    )
    try:
        result = rank_features(features[query], features[gallery], labels)
    except ValueError:  # no query has a match
        return None
    return Ranked(query, gallery, labels, result, protocol)
