"""Figures of each pair of cameras: mAP of the queries of one in the gallery of the other, and the false-match rate."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spcl.pages.ranked_images import Ranked
from spcl.pages.shown_images import ShownImages, in_order
from spcl.pages.similarities import UsedCalibration
from spcl.randomness import generator
from spcl.records import UNKNOWN
from spcl.retrieval.matches import RankingLabels
from spcl.retrieval.ranking import rank_features
from spcl.verification.pairs import pair_similarities

_MOST_CAMERAS = 12
_MOST_PAIRS = 40_000
_FEWEST_PAIRS = 200


@dataclass(frozen=True)
class CameraPair:
    """Figures of queries of one camera in the gallery of another.

    Attributes:
        query: Camera of the queries.
        gallery: Camera of the gallery images.
        mean_ap: Mean average precision; None: no query has a match there.
        num_queries: Number of queries with a match.
        false_match_rate: Share of pairs of different objects at or above the threshold; None: too few pairs, or no
            threshold.
        num_pairs: Number of pairs of different objects that were compared.
    """

    query: str
    gallery: str
    mean_ap: float | None
    num_queries: int
    false_match_rate: float | None
    num_pairs: int


def camera_pairs(
    images: ShownImages, ranked: Ranked, calibration: UsedCalibration | None
) -> tuple[tuple[str, ...], tuple[CameraPair, ...]]:
    """Give mAP and false-match rate of each pair of cameras, of at most twelve cameras, those with the most images.

    Returns:
        The cameras' names in the order of rows and columns, and the pairs; both empty with fewer than two cameras.

    Cost: queries x gallery similarities, once in all.
    """
    features = images.features
    query_cameras, gallery_cameras = (
        np.array([images.cameras[row] or "" for row in rows.tolist()])
        for rows in (ranked.query_rows, ranked.gallery_rows)
    )
    names, counts = np.unique(np.concatenate([query_cameras, gallery_cameras]), return_counts=True)
    names, counts = names[names != ""], counts[names != ""]
    if features is None or len(names) < 2:
        return (), ()
    kept = names[np.argsort(-counts, kind="stable")[:_MOST_CAMERAS]]
    cameras = tuple(sorted(kept.tolist(), key=in_order))
    rates = _false_matches(images, ranked, cameras, calibration)
    pairs = []
    for first in cameras:
        for second in cameras:
            rows, columns = np.flatnonzero(query_cameras == first), np.flatnonzero(gallery_cameras == second)
            mean_ap, count = _mean_ap(features, ranked, rows, columns)
            rate, num_pairs = rates.get((first, second), (None, 0))
            pairs.append(CameraPair(first, second, mean_ap, count, rate, num_pairs))
    return cameras, tuple(pairs)


def _mean_ap(
    features: NDArray[np.float32], ranked: Ranked, rows: NDArray[np.int64], columns: NDArray[np.int64]
) -> tuple[float | None, int]:
    labels = ranked.labels
    if not (len(rows) and len(columns)):
        return None, 0
    some = RankingLabels(
        labels.query[rows],
        labels.gallery[columns],
        labels.query_cameras[rows],
        labels.gallery_cameras[columns],
        labels.protocol,
    )
    if not some.num_matches().any():
        return None, 0
    result = rank_features(features[ranked.query_rows[rows]], features[ranked.gallery_rows[columns]], some)
    return result.mean_ap, result.num_valid_queries


def _false_matches(
    images: ShownImages, ranked: Ranked, cameras: tuple[str, ...], calibration: UsedCalibration | None
) -> dict[tuple[str, str], tuple[float | None, int]]:
    """Give the share of pairs of different objects at or above the threshold, for each pair of cameras."""
    features = images.features
    if calibration is None or features is None:
        return {}
    limit, rng = calibration.threshold.similarity, generator(0, "pairs of cameras of a page")
    rows = np.concatenate([ranked.query_rows, ranked.gallery_rows])
    identities = np.concatenate([ranked.labels.query, ranked.labels.gallery])
    identities[identities < 0] = UNKNOWN
    of_camera = np.array([images.cameras[row] or "" for row in rows.tolist()])
    rates: dict[tuple[str, str], tuple[float | None, int]] = {}
    for number, first in enumerate(cameras):
        for second in cameras[number:]:
            pairs = _pairs_between(identities, of_camera == first, of_camera == second, rng)
            values = pair_similarities(features, rows[pairs])
            rate = float((values >= limit).mean()) if len(values) >= _FEWEST_PAIRS else None
            rates[first, second] = rates[second, first] = rate, len(values)
    return rates


def _pairs_between(
    identities: NDArray[np.int64], first: NDArray[np.bool_], second: NDArray[np.bool_], rng: np.random.Generator
) -> NDArray[np.int64]:
    """Draw pairs of different known identities, one image of each camera."""
    left, right = np.flatnonzero(first & (identities >= 0)), np.flatnonzero(second & (identities >= 0))
    if not (len(left) and len(right)):
        return np.empty((0, 2), dtype=np.int64)
    drawn = np.stack([rng.choice(left, _MOST_PAIRS), rng.choice(right, _MOST_PAIRS)], axis=1)
    drawn = drawn[identities[drawn[:, 0]] != identities[drawn[:, 1]]]
    return np.unique(np.sort(drawn, axis=1), axis=0)
