"""Whole tracks in a gallery: their features, the tracks most similar to others, and enrolment by tracks.

A gallery stores images. The feature of a track is made of its images when it is asked for, so that images which are
added to a track later count in it, and a filter of images is a filter of what a track is made of.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spcl.data.image_key import image_keys
from spcl.data.track_columns import track_names
from spcl.errors import InputError
from spcl.gallery.columns import VECTOR, vectors_of
from spcl.gallery.gallery import Gallery
from spcl.gallery.result import SearchResult
from spcl.gallery.search import RERANK_CANDIDATES, Found, hits_of
from spcl.gallery.snapshot import Snapshot
from spcl.gallery.track_rows import qualities, require_tracks, track_numbers
from spcl.inference.embedding import EmbeddedImages
from spcl.retrieval.track_features import track_features
from spcl.verification.identification import Enrolled


@dataclass(frozen=True)
class QueryTrack:
    """A track that is searched for or named.

    Attributes:
        track: Name of the track, ``camera/track``; None: an image without a track.
        path: Its best image.
        paths: All its images that could be read.
    """

    track: str | None
    path: Path
    paths: tuple[Path, ...]

    @property
    def num_images(self) -> int:
        """Number of images."""
        return len(self.paths)


def query_tracks(
    images: EmbeddedImages, quality: Mapping[Path, Any]
) -> tuple[tuple[QueryTrack, ...], NDArray[np.float32]]:
    """Give the tracks of embedded images, and their features ``[Q, D]``.

    Args:
        images: The images.
        quality: Quality of the images, by path; an image without one has the quality 1.

    Raises:
        InputError: If no image has a track.
    """
    names = [record.track for record in images.records]
    require_tracks(names, "the queries")
    numbers = track_numbers(names)
    paths = [record.path for record in images.records]
    fused = track_features(images.features, numbers, qualities([quality.get(path) for path in paths], len(paths)))
    members: list[list[Path]] = [[] for _ in fused.features]
    for path, number in zip(paths, numbers.tolist(), strict=True):
        members[number].append(path)
    tracks = tuple(
        QueryTrack(names[best], paths[best], tuple(of_track))
        for best, of_track in zip(fused.best.tolist(), members, strict=True)
    )
    return tracks, fused.features


@dataclass(frozen=True)
class GalleryTracks:
    """The tracks of a gallery's images.

    Attributes:
        names: Name of each track, ``camera/track``; None: an image without a track.
        features: ``[T, D]`` float32, unit rows.
        identities: Identity of each track; None where unknown.
        paths: Path of each image.
        numbers: ``[N]`` int64, the track of each image.
        vectors: ``[N, D]`` float32, features of the images.
        row_ids: ``[N]`` int64, row of each image in ``snapshot``.
        snapshot: The version of the gallery that was read.
    """

    names: tuple[str | None, ...]
    features: NDArray[np.float32]
    identities: tuple[str | None, ...]
    paths: tuple[str, ...]
    numbers: NDArray[np.int64]
    vectors: NDArray[np.float32]
    row_ids: NDArray[np.int64]
    snapshot: Snapshot

    @classmethod
    def of(cls, gallery: Gallery, where: str | None = None, *, required: bool = True) -> GalleryTracks:
        """Read the tracks of the images that pass a filter.

        Args:
            gallery: The gallery.
            where: A filter of images; None: all images.
            required: Whether a gallery without tracks is an error; otherwise each image is a track.

        Raises:
            InputError: If no image has a track, or images of one track have different identities.

        Cost: one pass over the vectors; memory for all of them.
        """
        # All of one version, also while another process writes.
        snapshot = gallery._store.reading(where)
        condition, _ = gallery._passing.of(snapshot, where)
        wanted = [name for name in ("track", "quality") if name in snapshot.schema.names]
        columns: dict[str, list[Any]] = {name: [] for name in ("path", "identity", "camera", *wanted)}
        vectors, row_ids = [np.empty((0, gallery.dim), dtype=np.float32)], [np.empty(0, dtype=np.int64)]
        for rows, batch in snapshot.scan([VECTOR, *columns], condition):
            vectors.append(vectors_of(batch.column(VECTOR), gallery.dim))
            row_ids.append(rows)
            for name, values in columns.items():
                values += batch.column(name).to_pylist()
        num = len(columns["path"])
        tracks = [None if value is None else str(value) for value in columns.get("track", [None] * num)]
        names = track_names(tracks, columns["camera"])
        if required:
            require_tracks(names, f"the images of the gallery {gallery.place}")
        numbers = track_numbers(names)
        every = np.concatenate(vectors)
        fused = track_features(every, numbers, qualities(columns.get("quality"), num))
        first = np.unique(numbers, return_index=True)[1].tolist()
        return cls(
            names=tuple(names[row] for row in first),
            features=fused.features,
            identities=_identities(numbers, columns["identity"], names),
            paths=tuple(columns["path"]),
            numbers=numbers,
            vectors=every,
            row_ids=np.concatenate(row_ids),
            snapshot=snapshot,
        )

    def enrolled(self) -> Enrolled:
        """Enrol the identities with a shot for each track, so that the threshold is one of tracks.

        Raises:
            InputError: If no track has an identity.
        """
        known = [row for row, identity in enumerate(self.identities) if identity is not None]
        if not known:
            raise InputError(
                "no image of the gallery has an identity: add images with identities (spcl embed --gallery with a "
                "table's column identity)",
                code="no-identities",
            )
        return Enrolled.from_features(self.features[known], [self.identities[row] for row in known])

    def without_images_of(self, queries: Sequence[QueryTrack]) -> NDArray[np.bool_]:
        """Give ``[Q, T]``: whether a query has no image in a track of the gallery."""
        places: dict[str, list[int]] = {}
        for key, number in zip(image_keys(self.paths), self.numbers.tolist(), strict=True):
            places.setdefault(key, []).append(number)
        others = np.ones((len(queries), len(self.names)), dtype=np.bool_)
        for row, query in enumerate(queries):
            for key in image_keys(query.paths):
                others[row, places.get(key, [])] = False
        return others


def search_tracks(
    tracks: GalleryTracks,
    queries: Sequence[QueryTrack],
    features: NDArray[np.float32],
    k: int,
    *,
    rerank: bool = False,
) -> SearchResult:
    """Find the tracks most similar to others; a track that holds an image of the query is not listed.

    Args:
        tracks: The tracks of the gallery.
        queries: The Q tracks that are searched for.
        features: ``[Q, D]`` their features.
        k: Number of tracks for each query.
        rerank: Whether to order the nearest 100 (or 4 k) by k-reciprocal re-ranking among themselves.

    Returns:
        SearchResult. A hit is the image of a track that is most similar to the query, with the similarity of the
            tracks; its columns have ``track`` and ``num_images``.
    """
    others = tracks.without_images_of(queries)
    found = [
        _nearest_tracks(tracks, query, allowed, k, rerank=rerank)
        for query, allowed in zip(features, others, strict=True)
    ]
    images = [
        np.array([_most_similar_image(tracks, track, query) for track in nearest.tolist()], dtype=np.int64)
        for query, (nearest, _) in zip(features, found, strict=True)
    ]
    similarities = [tracks.features[nearest] @ query for query, (nearest, _) in zip(features, found, strict=True)]
    distances = [distance for _, distance in found if distance is not None] if rerank else None
    rows = Found([tracks.row_ids[of_query] for of_query in images], similarities, "exact", distances)
    counts = np.bincount(tracks.numbers, minlength=len(tracks.names)).tolist()
    hits = tuple(
        tuple(
            replace(hit, identity=tracks.identities[track], columns={**hit.columns, "num_images": counts[track]})
            for hit, track in zip(of_query, nearest.tolist(), strict=True)
        )
        for of_query, (nearest, _) in zip(hits_of(tracks.snapshot, rows), found, strict=True)
    )
    return SearchResult(hits, "exact", 1.0)


def _nearest_tracks(
    tracks: GalleryTracks, query: NDArray[np.float32], allowed: NDArray[np.bool_], k: int, *, rerank: bool
) -> tuple[NDArray[np.int64], NDArray[np.float32] | None]:
    """The nearest tracks, nearest first, and their re-ranked distances."""
    places = np.flatnonzero(allowed)
    wanted = max(RERANK_CANDIDATES, 4 * k) if rerank else k
    nearest = places[np.argsort(-(tracks.features[places] @ query), kind="stable")[:wanted]]
    if not rerank:
        return nearest, None
    if not len(nearest):
        return nearest, np.empty(0, dtype=np.float32)
    # Imported here because other searches do not need this compiled code.
    from spcl.retrieval.rerank import rerank as reranked

    distance = np.asarray(reranked(query[None], tracks.features[nearest])[0], dtype=np.float32)
    order = np.argsort(distance, kind="stable")[:k]
    return nearest[order], distance[order]


def _most_similar_image(tracks: GalleryTracks, track: int, query: NDArray[np.float32]) -> int:
    rows = np.flatnonzero(tracks.numbers == track)
    return int(rows[int((tracks.vectors[rows] @ query).argmax())])


def _identities(
    numbers: NDArray[np.int64], identities: Sequence[str | None], names: Sequence[str | None]
) -> tuple[str | None, ...]:
    known: dict[int, str] = {}
    for row, (number, identity) in enumerate(zip(numbers.tolist(), identities, strict=True)):
        if identity is not None and known.setdefault(number, identity) != identity:
            raise InputError(
                f"the track {names[row]} of the gallery has images of the identities {known[number]!r} and "
                f"{identity!r}; add its images again with one of them",
                code="identity-contradiction",
            )
    return tuple(known.get(number) for number in range(int(numbers.max(initial=-1)) + 1))
