"""Data sets: records of images in three splits.

The instance id of a record is its row number in ``ReIDDataset.train``, and so the row of its feature in every array
over the training set.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spcl.short_repr import with_short_repr

UNKNOWN = -1
"""The value of an unknown identity or camera in integer arrays."""


@dataclass(frozen=True, slots=True)
class Record:
    """One image with its identity and its camera, and what a tracker says of it.

    Attributes:
        path: The image file.
        identity: Number of the identity, or ``None`` where it is unknown.
        camera: Number of the camera, from 0, or ``None`` where it is unknown.
        track: Name of the track: two images of a data set with one name were followed as one object by one camera.
            It is ``camera/track`` as the source writes both, or ``track`` where the camera is unknown; ``None``: the
            image is in no track.
        frame: Number of the frame in the video of its camera, or ``None`` where it is unknown.
        time: Time at which the image was taken, without a zone, or ``None``; read only of tables with tracks.
        box: Left, top, width and height of the image in its frame, in pixels, or ``None`` where it is unknown.
    """

    path: Path
    identity: int | None = None
    camera: int | None = None
    track: str | None = None
    frame: int | None = None
    time: datetime | None = None
    box: tuple[float, float, float, float] | None = None


@with_short_repr
@dataclass(frozen=True, slots=True)
class ReIDDataset:
    """A data set for re-identification.

    Attributes:
        name: Name of the data set in reports.
        train: The training images, in a fixed order; a record's row number is its instance id.
            Identities run from 0 without gaps, or are ``None``.
        query: The query images. Identity numbers are those of ``gallery``, not those of ``train``.
        gallery: The gallery images. They may include distractors, whose identity no query has.
        protocol: The evaluation protocol of the data set: ``market1501``, ``vehicleid`` or ``no-camera``.
        notes: Remarks in sentences: counts that differ from the published ones, files that were left out.
        distractors: The identity number that all distractors of the gallery share, though they are different objects;
            ``None``: there are no distractors.
        parts: The data sets that this one was combined from, each with its own queries and gallery, which this one has
            none of; empty: it was not combined.
    """

    name: str
    train: tuple[Record, ...] = ()
    query: tuple[Record, ...] = ()
    gallery: tuple[Record, ...] = ()
    protocol: str = "market1501"
    notes: tuple[str, ...] = ()
    distractors: int | None = None
    parts: tuple[ReIDDataset, ...] = ()

    def without_training_identities(self) -> ReIDDataset:
        """Give the same data without training identities, as a target domain."""
        train = tuple(replace(record, identity=None) for record in self.train)
        return replace(self, train=train, parts=tuple(part.without_training_identities() for part in self.parts))

    @property
    def evaluated(self) -> tuple[ReIDDataset, ...]:
        """The data sets with queries and a gallery: this one, or those of its parts that have them."""
        return tuple(part for part in (self.parts or (self,)) if part.query and part.gallery)


def identities_of(records: Sequence[Record]) -> NDArray[np.int64]:
    """Give identities ``[len(records)]`` int64, ``UNKNOWN`` (-1) where a record has none."""
    return np.array([UNKNOWN if r.identity is None else r.identity for r in records], dtype=np.int64)


def cameras_of(records: Sequence[Record]) -> NDArray[np.int64]:
    """Give cameras ``[len(records)]`` int64, ``UNKNOWN`` (-1) where a record has none."""
    return np.array([UNKNOWN if r.camera is None else r.camera for r in records], dtype=np.int64)


def tracks_of(records: Sequence[Record]) -> NDArray[np.int64]:
    """Number the tracks of records, ``[len(records)]`` int64: from 0 by first image, ``UNKNOWN`` (-1) without one."""
    numbers: dict[str, int] = {}
    tracks = [UNKNOWN if r.track is None else numbers.setdefault(r.track, len(numbers)) for r in records]
    return np.array(tracks, dtype=np.int64)
