"""The gallery images that count for a query under a protocol, and the ranks of its true matches."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit, prange
from numpy.typing import ArrayLike, NDArray

from spcl.arrays import whole_tensor
from spcl.compiled import PARALLEL

PROTOCOLS = ("market1501", "vehicleid", "no-camera")
"""``market1501``: gallery images of the query's identity in the query's camera are left out. ``vehicleid``: one
gallery image per identity, drawn several times and averaged (the evaluation makes the draws). ``no-camera``: every
gallery image counts."""

_UNKNOWN = -1

_NO_IDENTITY = int(np.iinfo(np.int64).min)
"""Replaces the unknown identity of a query: no gallery image has it."""


@dataclass(frozen=True)
class RankingLabels:
    """Identities and cameras of queries and gallery images, checked for a protocol; made by ``checked``.

    Unknown identities (-1) never match: such a query has no match, and such a gallery image matches no query.

    Attributes:
        query: ``[Q]`` int64, the identity of each query; a number that no gallery image has where it is unknown.
        gallery: ``[G]`` int64, the identity of each gallery image, -1 unknown.
        query_cameras: ``[Q]`` int64, the camera of each query. If the protocol does not compare cameras, numbers with
            which no image is left out.
        gallery_cameras: ``[G]`` int64, the camera of each gallery image, with the same exception.
        protocol: Evaluation protocol, one of ``PROTOCOLS``.
    """

    query: NDArray[np.int64]
    gallery: NDArray[np.int64]
    query_cameras: NDArray[np.int64]
    gallery_cameras: NDArray[np.int64]
    protocol: str

    @classmethod
    def checked(
        cls,
        query_ids: ArrayLike,
        gallery_ids: ArrayLike,
        query_cameras: ArrayLike | None = None,
        gallery_cameras: ArrayLike | None = None,
        *,
        protocol: str = "market1501",
    ) -> RankingLabels:
        """Check and convert identities and cameras.

        Args:
            query_ids: ``[Q]`` int, identities of the queries, -1 unknown.
            gallery_ids: ``[G]`` int, identities of the gallery images, -1 unknown.
            query_cameras: ``[Q]`` int, cameras of the queries; may be None if the protocol does not compare cameras.
            gallery_cameras: ``[G]`` int, cameras of the gallery images; may be None for the same protocols.
            protocol: Evaluation protocol, one of ``PROTOCOLS``.

        Raises:
            ValueError: If the protocol is unknown, or needs cameras that are not known, or lengths differ, or values
                are not integers.
        """
        if not isinstance(protocol, str) or protocol not in PROTOCOLS:
            raise ValueError(f"protocol is {protocol!r}; expected one of {', '.join(PROTOCOLS)}")
        query, gallery = _integers(query_ids, "query_ids"), _integers(gallery_ids, "gallery_ids")
        query[query == _UNKNOWN] = _NO_IDENTITY
        if protocol != "market1501":
            # Cameras that never agree: no image is left out.
            return cls(query, gallery, np.zeros_like(query), np.ones_like(gallery), protocol)
        if query_cameras is None or gallery_cameras is None:
            raise ValueError('the protocol market1501 compares cameras; give them, or use protocol="no-camera"')
        cameras = _integers(query_cameras, "query_cameras"), _integers(gallery_cameras, "gallery_cameras")
        if len(cameras[0]) != len(query) or len(cameras[1]) != len(gallery):
            raise ValueError(
                f"{len(cameras[0])} and {len(cameras[1])} cameras for {len(query)} queries and {len(gallery)} "
                "gallery images"
            )
        if (cameras[0] == _UNKNOWN).any() or (cameras[1] == _UNKNOWN).any():
            raise ValueError('the protocol market1501 needs every camera; some are unknown: use protocol="no-camera"')
        return cls(query, gallery, *cameras, protocol)

    def num_matches(self) -> NDArray[np.int64]:
        """Count the gallery images that match each query: of its identity, without those of its camera.

        Returns:
            ``[Q]`` int64; 0 for a query without a match.
        """
        ordered = np.sort(self.gallery)
        of_identity = np.searchsorted(ordered, self.query, "right") - np.searchsorted(ordered, self.query, "left")
        pairs = np.concatenate(
            [np.stack([self.query, self.query_cameras]), np.stack([self.gallery, self.gallery_cameras])], axis=1
        )
        # Each pair of identity and camera as one number.
        number = np.unique(pairs, axis=1, return_inverse=True)[1].reshape(-1)
        in_gallery = np.bincount(number[len(self.query) :], minlength=int(number.max(initial=0)) + 1)
        return (of_identity - in_gallery[number[: len(self.query)]]).astype(np.int64)


def _integers(values: ArrayLike, name: str) -> NDArray[np.int64]:
    array: NDArray[np.int64] = whole_tensor(values, name).cpu().numpy()
    if array.ndim != 1:
        raise ValueError(f"{name} are {array.dtype} of shape {array.shape}; expected a row of integers")
    return array.copy()


@njit(cache=True, parallel=PARALLEL)
def places_of_matches(  # type: ignore[no-untyped-def]
    distance, query_cameras, gallery_cameras, by_identity, starts, stops, precision, first_match
):
    """Write average precision and rank of the first match of each query of a block into the last two arrays.

    Gallery images of the query's identity and camera are skipped. A gallery image is ranked before a match if it is
    nearer, or equally near and earlier in the gallery. Each image is placed between two matches by a binary search over
    the ordered matches, because images are many and matches few.
    """
    num_gallery = distance.shape[1]
    for query in prange(distance.shape[0]):
        row = distance[query]
        members = by_identity[starts[query] : stops[query]]
        kept = members[gallery_cameras[members] != query_cameras[query]]
        num_matches = len(kept)
        if num_matches == 0:
            continue
        # Stable sort of matches in gallery order: by distance, then by row in the gallery.
        matches = kept[np.argsort(row[kept], kind="mergesort")]
        values = row[matches]
        skipped = np.zeros(num_gallery, dtype=np.bool_)
        for member in members:
            skipped[member] = gallery_cameras[member] == query_cameras[query]
        before = np.zeros(num_matches + 1, dtype=np.int64)
        farthest = values[num_matches - 1]
        for image in range(num_gallery):
            value = row[image]
            if value > farthest or skipped[image]:
                continue
            low, high = 0, num_matches
            while low < high:
                middle = (low + high) // 2
                if values[middle] < value or (values[middle] == value and matches[middle] < image):
                    low = middle + 1
                else:
                    high = middle
            # It is ranked before match number ``low`` and all later ones (a match before itself as well).
            before[low] += 1
        total = 0.0
        place = 0
        for match in range(num_matches):
            place += before[match]
            if match == 0:
                first_match[query] = place - 1
            total += (match + 1) / place
        precision[query] = total / num_matches
