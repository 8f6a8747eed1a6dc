"""Groups of tracks from features and from what is known of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spcl.data.image_table import ImageTable
from spcl.linking.link_table import Track, seconds_of
from spcl.linking.linkage import TRIED, chosen_similarity, merged_tracks
from spcl.linking.track_similarity import track_similarity
from spcl.linking.travel_times import TravelLimits, TravelTimes, travel_notes
from spcl.pairs.known_pairs import KnownPairs


@dataclass(frozen=True)
class LinkedGroups:
    """Groups of tracks that show one object.

    Attributes:
        groups: ``[T]`` int64, the group of each track.
        similarities: ``[T]`` float64, mean similarity to the other tracks of the group; NaN for a track alone.
        threshold: Least mean similarity of groups that were joined.
        notes: How much of what is known was used, in sentences.
    """

    groups: NDArray[np.int64]
    similarities: NDArray[np.float64]
    threshold: float
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Constraints:
    """What is known of tracks.

    Attributes:
        pairs: Known pairs of rows of the images.
        travel: Travel times between cameras; None: unknown.
    """

    pairs: KnownPairs
    travel: TravelTimes | None = None


def linked_groups(
    tracks: Sequence[Track],
    features: NDArray[np.float32],
    images: ImageTable,
    constraints: Constraints,
    threshold: float | str = "auto",
) -> LinkedGroups:
    """Group tracks.

    Args:
        tracks: T tracks of the images.
        features: ``[N, D]`` features of the images, unit rows.
        images: N images, each of them in a track.
        constraints: What is known of the tracks.
        threshold: Least mean similarity of two groups that are joined; ``auto``: chosen from the tracks.
    """
    known, travel = constraints.pairs, constraints.travel
    similarity = track_similarity(features, images, tracks)
    track_of = np.empty(len(images), dtype=np.int64)
    for number, track in enumerate(tracks):
        track_of[list(track.rows)] = number
    cannot = np.zeros((len(tracks),) * 2, dtype=np.bool_)
    first, second = track_of[known.cannot_link].T
    cannot[first, second] = cannot[second, first] = True
    limits = None if travel is None else _limits(travel, tracks)
    notes = () if travel is None else travel_notes(travel, tracks)
    if limits is not None:
        too_fast = limits.too_fast()
        notes += (f"{int((too_fast & ~cannot).sum()) // 2} pairs of tracks are too fast for the travel times",)
        cannot |= too_fast
    must = [(int(one), int(other)) for one, other in track_of[known.must_link] if one != other]
    least = TRIED[0] if isinstance(threshold, str) else threshold
    merges = merged_tracks(
        similarity, cannot, must_link=must, least=least, fits=None if limits is None else limits.fits
    )
    if isinstance(threshold, str):
        threshold = chosen_similarity(merges, similarity)
        notes += (f"tracks are joined from a mean similarity of {threshold:g} on, chosen from the tracks",)
    groups = merges.groups(threshold)
    together = (groups[:, None] == groups) & ~np.eye(len(groups), dtype=np.bool_)
    sums, counts = (similarity * together).sum(axis=1), together.sum(axis=1)
    means = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
    return LinkedGroups(groups, means, float(threshold), notes)


def _limits(travel: TravelTimes, tracks: Sequence[Track]) -> TravelLimits:
    least, most = travel.matrices([track.camera for track in tracks])
    return TravelLimits(
        seconds_of([track.start for track in tracks]), seconds_of([track.end for track in tracks]), least, most
    )
