"""Rows of images as tracks: which rows are a track, the quality of each, and parts of images as rows of tracks.

A track is named ``camera/track``, as in ``Record.track``; an image without a track is a track of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from spcl.errors import InputError
from spcl.gallery.images_to_rows import EmbeddedRows, FoundImages
from spcl.retrieval.track_features import track_features

_NUMBER = "_number_of_track"
"""A column of images on the way to rows of tracks; it is not written."""
_DOUBTFUL = 0.5
"""Agreement with the other images of a track, relative to the median, below which an image may show another object."""


def track_numbers(names: Sequence[str | None]) -> NDArray[np.int64]:
    """Number tracks from 0 by their first image, ``[N]`` int64; each None is a track of its own."""
    numbers: dict[object, int] = {}
    keys: list[object] = [row if name is None else name for row, name in enumerate(names)]
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.int64)


def qualities(values: Sequence[Any] | None, num: int) -> NDArray[np.float64]:
    """Give the quality of each of ``num`` images, ``[num]`` float64, above 0; 1 where it is unknown or is no number."""
    plain = [None] * num if values is None else values
    return np.array(
        [value if isinstance(value, int | float) and 0 < value < np.inf else 1.0 for value in plain], dtype=np.float64
    )


def require_tracks(names: Sequence[str | None], holder: str) -> None:
    """Raise an ``InputError`` if no image has a track."""
    if all(name is None for name in names):
        raise InputError(
            f"{holder} have no tracks, which --by track needs: give a table with a column track, such as spcl crops "
            "writes",
            code="no-tracks",
        )


def ordered_by_track(found: FoundImages) -> FoundImages:
    """Give the images in the order of their tracks, with the number of the track of each.

    Raises:
        InputError: If no image has a track, or images of one track have different identities.
    """
    names = [record.track for record in found.records]
    require_tracks(names, "the images")
    numbers = track_numbers(names)
    _check_identities(names, found.table.column("identity").to_pylist())
    order = np.argsort(numbers, kind="stable")
    table = found.table
    if "track" not in table.column_names:
        # Tracks that were read from file names.
        table = table.append_column("track", pa.array(names, pa.string()))
    table = table.take(pa.array(order)).append_column(_NUMBER, pa.array(numbers[order]))
    alone = names.count(None)
    note = f"{numbers.max() + 1 - alone} tracks of {len(names) - alone} images"
    if alone:
        note += f"; {alone} image(s) without a track are each a track of their own"
    return replace(
        found, records=tuple(found.records[row] for row in order.tolist()), table=table, notes=(*found.notes, note)
    )


def without_numbers(part: EmbeddedRows) -> EmbeddedRows:
    """Give images of ``ordered_by_track`` as rows of a gallery."""
    return replace(part, table=part.table.drop_columns([_NUMBER]))


@dataclass(frozen=True)
class FusedRows:
    """Rows of tracks.

    Attributes:
        table: Columns of the best image of each track, and ``num_images``.
        features: ``[len(table), D]`` float32, unit rows.
        num_doubtful: Number of images that agree with their track less than half as much as the median image.
    """

    table: pa.Table
    features: NDArray[np.float32]
    num_doubtful: int


class TrackParts:
    """Makes rows of tracks of parts of images, in the order of ``ordered_by_track``."""

    def __init__(self) -> None:
        self._kept: EmbeddedRows | None = None

    def take(self, part: EmbeddedRows) -> FusedRows | None:
        """Take the next images; give the tracks that are complete, or None."""
        joined = part
        if self._kept is not None:
            joined = EmbeddedRows(
                pa.concat_tables([self._kept.table, part.table]),
                np.concatenate([self._kept.features, part.features]),
                (),
            )
        if not len(joined.table):
            return None
        numbers = joined.table.column(_NUMBER).to_numpy()
        # The last track may go on in the next part.
        complete = int((numbers != numbers[-1]).sum())
        self._kept = EmbeddedRows(joined.table.slice(complete), joined.features[complete:], ())
        return _fused(joined.table.slice(0, complete), joined.features[:complete]) if complete else None

    def rest(self) -> FusedRows | None:
        """Give the last track, or None."""
        return None if self._kept is None else _fused(self._kept.table, self._kept.features)


def _fused(table: pa.Table, features: NDArray[np.float32]) -> FusedRows:
    tracks = np.unique(table.column(_NUMBER).to_numpy(), return_inverse=True)[1]
    quality = table.column("quality").to_pylist() if "quality" in table.column_names else None
    fused = track_features(features, tracks, qualities(quality, len(table)))
    rows = table.take(pa.array(fused.best)).drop_columns([_NUMBER])
    # Of a track with one identity, some images may have none.
    known: dict[int, str] = {}
    for track, identity in zip(tracks.tolist(), table.column("identity").to_pylist(), strict=True):
        if identity is not None:
            known.setdefault(track, identity)
    identities = pa.array([known.get(track) for track in range(len(rows))], pa.string())
    rows = rows.set_column(rows.column_names.index("identity"), "identity", identities)
    if "num_images" in rows.column_names:
        rows = rows.drop_columns(["num_images"])
    rows = rows.append_column("num_images", pa.array(np.bincount(tracks), pa.int64()))
    return FusedRows(rows, fused.features, int((fused.agreement < _DOUBTFUL).sum()))


def _check_identities(names: Sequence[str | None], identities: Sequence[str | None]) -> None:
    known: dict[str, str] = {}
    for name, identity in zip(names, identities, strict=True):
        if name is not None and identity is not None and known.setdefault(name, identity) != identity:
            raise InputError(
                f"the track {name} has images of the identities {known[name]!r} and {identity!r}; correct its track or "
                "its identity",
                code="identity-contradiction",
            )
