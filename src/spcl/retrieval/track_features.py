"""One feature for a track: a weighted mean of the features of its images that a wrong crop hardly moves.

The weight of image i with quality q_i is::

    w_i = q_i * min(1, a_i / median of a)^2,        a_i = weighted mean over j != i of <x_i, x_j>

An image that agrees with the others as the median image does, or more, has its whole quality as weight; one that agrees
half as much, a quarter of it. In tracks without a wrong image the result is nearly the plain mean, which is the better
estimate there; the geometric median and the medoid are not (``benchmarks/track_fusion.py`` compares them). With one or
two images there is no majority, and the weights are the qualities.

Not here: which images are a track (``records.tracks_of``), and the qualities (``footage/crop_choice.py``).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_FEWEST_FOR_A_MAJORITY = 3
_POWER = 2.0


class TrackFeatures(NamedTuple):
    """The features of tracks.

    Attributes:
        features: ``[T, D]`` float32, unit rows.
        lengths: ``[T]`` float64, length of the weighted mean before it was scaled to 1; 1 if all images are equal.
        weights: ``[N]`` float64, share of each image in the feature of its track; they sum to 1 in each track.
        agreement: ``[N]`` float64, at most 1: agreement of each image with the others of its track, relative to the
            median; 1 in tracks of one or two images.
        best: ``[T]`` int64, row of the image with the largest weight in each track.
    """

    features: NDArray[np.float32]
    lengths: NDArray[np.float64]
    weights: NDArray[np.float64]
    agreement: NDArray[np.float64]
    best: NDArray[np.int64]


def track_features(
    features: NDArray[np.float32], tracks: NDArray[np.int64], quality: NDArray[np.float64] | None = None
) -> TrackFeatures:
    """Fuse the features of each track.

    Args:
        features: ``[N, D]`` float32, unit rows.
        tracks: ``[N]`` int64, number of the track of each image; every number from 0 to the largest occurs.
        quality: ``[N]`` quality of each image, above 0; None: all are equal.

    Raises:
        ValueError: If lengths differ, a track has no image, or a quality is not above 0.

    Cost: O(N D).
    """
    if quality is None:
        quality = np.ones(len(tracks))
    if not len(features) == len(tracks) == len(quality):
        raise ValueError(
            f"there are {len(features)} features, {len(tracks)} tracks and {len(quality)} qualities; expected as many "
            "of each"
        )
    if not (np.isfinite(quality) & (quality > 0)).all():
        raise ValueError("the quality of an image is not a number above 0")
    num = int(tracks.max(initial=-1)) + 1
    if (np.bincount(tracks, minlength=num) == 0).any():
        raise ValueError("every number of a track from 0 on must have an image")
    sums = np.zeros((num, features.shape[1]))
    np.add.at(sums, tracks, quality[:, None] * features)
    totals = np.bincount(tracks, weights=quality, minlength=num)
    similarity = np.einsum("nd,nd->n", features, sums[tracks])
    agreement = _relative_agreement((similarity - quality) / np.maximum(totals[tracks] - quality, 1e-12), tracks, num)
    weights = quality * agreement**_POWER
    weights /= np.bincount(tracks, weights=weights, minlength=num)[tracks]
    means = np.zeros((num, features.shape[1]))
    np.add.at(means, tracks, weights[:, None] * features)
    lengths = np.linalg.norm(means, axis=1)
    fused = (means / np.maximum(lengths, 1e-12)[:, None]).astype(np.float32)
    return TrackFeatures(fused, lengths, weights, agreement, _heaviest(weights, tracks, num))


def track_similarities(
    queries: NDArray[np.float32],
    query_tracks: NDArray[np.int64],
    gallery: NDArray[np.float32],
    gallery_tracks: NDArray[np.int64],
) -> NDArray[np.float32]:
    """Give the similarity of the two most similar images of each pair of tracks (best-of), ``[Q, G]`` float32.

    Args:
        queries: ``[n, D]`` unit rows, images of the query tracks.
        query_tracks: ``[n]`` int64, number of the track of each; every number from 0 on occurs.
        gallery: ``[m, D]`` unit rows, images of the gallery tracks.
        gallery_tracks: ``[m]`` int64, number of the track of each; every number from 0 on occurs.

    Cost: ``2 n m D`` flops; memory of the result and of one query track against all images.
    """
    order = np.argsort(gallery_tracks, kind="stable")
    columns, starts = gallery[order], np.searchsorted(gallery_tracks[order], np.arange(gallery_tracks.max() + 1))
    found = np.empty((int(query_tracks.max()) + 1, len(starts)), dtype=np.float32)
    for track in range(len(found)):
        best = (queries[query_tracks == track] @ columns.T).max(axis=0)
        found[track] = np.maximum.reduceat(best, starts)
    return found


def _relative_agreement(agreement: NDArray[np.float64], tracks: NDArray[np.int64], num: int) -> NDArray[np.float64]:
    """Divide by the median of the track; 1 where it is larger, where there is no majority, and below a median of 0."""
    order = np.lexsort((agreement, tracks))
    sizes = np.bincount(tracks, minlength=num)
    starts = np.cumsum(sizes) - sizes
    ascending = agreement[order]
    medians = (ascending[starts + (sizes - 1) // 2] + ascending[starts + sizes // 2]) / 2
    has_majority = (sizes >= _FEWEST_FOR_A_MAJORITY) & (medians > 0)
    relative = np.clip(agreement / np.where(has_majority, medians, 1.0)[tracks], 0.0, 1.0)
    return np.asarray(np.where(has_majority[tracks], relative, 1.0))


def _heaviest(weights: NDArray[np.float64], tracks: NDArray[np.int64], num: int) -> NDArray[np.int64]:
    # Of equal weights the first row.
    order = np.lexsort((np.arange(len(weights)), -weights, tracks))
    return order[np.searchsorted(tracks[order], np.arange(num))]
