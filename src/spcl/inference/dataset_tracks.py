"""The tracks of a data set's queries and gallery: one record for each, and the images of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spcl.data.folder_dataset import split_for_evaluation
from spcl.errors import InputError
from spcl.records import Record, ReIDDataset


@dataclass(frozen=True)
class DatasetTracks:
    """A data set with a track in the place of an image.

    Attributes:
        dataset: The data set; each record is a track, with the path of the image in the middle of it. An image without
            a track is a track of its own.
        tracks: ``[N]`` int64, for each query image, then for each gallery image, the row of its track among query
            tracks and gallery tracks.
        num_images: N.
    """

    dataset: ReIDDataset
    tracks: NDArray[np.int64]

    @property
    def num_images(self) -> int:
        """Number of images of all tracks."""
        return len(self.tracks)


def dataset_tracks(dataset: ReIDDataset) -> DatasetTracks:
    """Give the tracks of a data set's queries and gallery.

    A track that has images in both is one query and one gallery entry with the same path, so that it is no match of
    itself.

    Raises:
        InputError: If no image has a track, or images of one track have different identities.
    """
    images = dataset.query + dataset.gallery
    middle = _middle_images(images)
    if all(record.track is None for record in images):
        raise InputError(
            f"the images of {dataset.name} have no tracks; --by track needs a table with a column track, such as spcl "
            "crops writes",
            code="no-tracks",
        )
    query, query_rows = _tracks_of(dataset.query, middle)
    gallery, gallery_rows = _tracks_of(dataset.gallery, middle)
    alone = sum(record.track is None for record in images)
    note = f"{len(query)} query tracks and {len(gallery)} gallery tracks of {len(images)} images"
    if alone:
        note += f"; {alone} image(s) without a track are each a track of their own"
    tracks = np.array(query_rows + [len(query) + row for row in gallery_rows], dtype=np.int64)
    return DatasetTracks(replace(dataset, query=query, gallery=gallery, notes=(*dataset.notes, note)), tracks)


def split_tracks_for_evaluation(dataset: ReIDDataset) -> ReIDDataset:
    """Draw whole tracks as queries and gallery, as ``split_for_evaluation`` draws images of a labelled training split.

    Raises:
        InputError: If there are no identities, no tracks, or a track has several identities.
    """
    whole = dataset_tracks(replace(dataset, query=(), gallery=dataset.train))
    drawn = split_for_evaluation(replace(dataset, train=whole.dataset.gallery))
    queries = {record.path for record in drawn.query}
    kept = queries | {record.path for record in drawn.gallery}
    of_images = [whole.dataset.gallery[row] for row in whole.tracks.tolist()]
    labelled = [
        (replace(image, identity=track.identity), track.path in queries)
        for image, track in zip(dataset.train, of_images, strict=True)
        if track.path in kept
    ]
    return replace(
        drawn,
        train=dataset.train,
        query=tuple(image for image, is_query in labelled if is_query),
        gallery=tuple(image for image, is_query in labelled if not is_query),
    )


def _middle_images(images: Sequence[Record]) -> dict[str, Path]:
    """The image in the middle of each track, by its name."""
    paths: dict[str, list[Path]] = {}
    for record in images:
        if record.track is not None:
            paths.setdefault(record.track, []).append(record.path)
    return {name: of_track[len(of_track) // 2] for name, of_track in paths.items()}


def _tracks_of(images: Sequence[Record], middle: dict[str, Path]) -> tuple[tuple[Record, ...], list[int]]:
    """A record for each track, and the row of the track of each image."""
    tracks: list[Record] = []
    row_of: dict[str, int] = {}
    rows = []
    for image in images:
        if image.track is None:
            rows.append(len(tracks))
            tracks.append(image)
            continue
        row = row_of.setdefault(image.track, len(tracks))
        rows.append(row)
        if row == len(tracks):
            tracks.append(replace(image, path=middle[image.track]))
        elif tracks[row].identity is None:
            tracks[row] = replace(tracks[row], identity=image.identity)
        elif image.identity not in (None, tracks[row].identity):
            raise InputError(
                f"the track {image.track} has images of two identities, such as {image.path}; correct its track or its "
                "identity",
                code="identity-contradiction",
            )
    return tuple(tracks), rows
