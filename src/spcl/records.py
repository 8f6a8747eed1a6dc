"""What a data set is: records in three splits.

"Instance id" is defined here: it is the row number of a record in ``ReIDDataset.train``, and so the row of its
feature in every array over the training set.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

UNKNOWN = -1
"""How an unknown identity or camera is written in integer arrays."""


@dataclass(frozen=True, slots=True)
class Record:
    """One image: where it is, whom it shows, which camera took it.

    Attributes:
        path: The image file.
        identity: The object's identity, or ``None`` where it is not known.
        camera: The camera's number, from 0, or ``None`` where it is not known.
    """

    path: Path
    identity: int | None = None
    camera: int | None = None


@dataclass(frozen=True, slots=True)
class ReIDDataset:
    """A data set for re-identification.

    Attributes:
        name: How reports call it.
        train: The training images, in a fixed order; a record's row number is its instance id.
            Identities run from 0 without gaps, or are ``None``.
        query: The images searched for. Identities are those of ``gallery``, not those of ``train``.
        gallery: The images searched in. May hold distractors, whose identity no query has.
        protocol: The evaluation protocol that fits: ``market1501``, ``vehicleid`` or ``no-camera``.
        notes: What a reader should know, in sentences: counts that differ from the published ones, files left out.
        distractors: The identity of the gallery's distractors, which are different objects; ``None``: there is none.
    """

    name: str
    train: tuple[Record, ...] = ()
    query: tuple[Record, ...] = ()
    gallery: tuple[Record, ...] = ()
    protocol: str = "market1501"
    notes: tuple[str, ...] = ()
    distractors: int | None = None

    def without_training_identities(self) -> ReIDDataset:
        """The same data with every training identity removed: what a target domain is trained on."""
        return replace(self, train=tuple(replace(record, identity=None) for record in self.train))


def identities_of(records: Sequence[Record]) -> NDArray[np.int64]:
    """Identities ``[len(records)]`` int64, ``UNKNOWN`` (-1) where a record has none."""
    return np.array([UNKNOWN if r.identity is None else r.identity for r in records], dtype=np.int64)


def cameras_of(records: Sequence[Record]) -> NDArray[np.int64]:
    """Cameras ``[len(records)]`` int64, ``UNKNOWN`` (-1) where a record has none."""
    return np.array([UNKNOWN if r.camera is None else r.camera for r in records], dtype=np.int64)
