"""``spcl.link_tracks``: from the images of tracks of several cameras to one identity for the tracks of each object.

1. Features of the images, without the mean of their camera, fused to one feature for each track.
2. What is known: tracks of one camera at one time show two objects; pairs by hand; travel times between cameras.
3. Average linkage under these constraints; the similarity at which it ends is chosen without labels.

The functions import torch, so that a wrong path or value is reported before it is loaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spcl.data.image_sources import images_of
from spcl.data.image_table import ImageTable
from spcl.data.source_options import SourceOptions
from spcl.errors import InputError, require
from spcl.inference.encode_options import EncodeOptions
from spcl.linking.link_table import (
    LINKED,
    MOT,
    TRACKS,
    Track,
    check_folder,
    numbered_identities,
    read_boxes,
    tracks_in,
    write_links,
)
from spcl.linking.travel_times import read_travel_times, travel_notes
from spcl.pairs.pair_options import PairOptions
from spcl.reporting.console import Reporter, WarningsKept, say_notes

MOST_TRACKS = 12_000
"""Tracks of which all pairs are compared; three matrices of this size take 3 GB."""


@dataclass(frozen=True)
class LinkRequest:
    """Which tracks are linked, and where the result goes.

    Attributes:
        images: A table with the columns ``track`` and ``camera``, such as ``crops.csv`` of ``spcl crops``.
        output: Folder of the result.
        travel: A table ``camera_a,camera_b,min_seconds,max_seconds`` of travel times between cameras; empty: none.
        pairs: A table of pairs of images, or names of tracks, that are known to show one object or two; empty:
            ``pairs.csv`` beside the images, where there is one.
        boxes: The tracker's file of each camera: all its boxes are written with their identity, not only those of the
            images.
        threshold: Least mean similarity of two groups of tracks that are joined, above -1 and below 1; ``auto``: chosen
            from the tracks.
        overwrite: Whether earlier links in the folder are replaced.
        source: How the images are found, and which columns are read.
        encoding: The encoder and its options; by default a network with ImageNet weights.

    Raises:
        InputError: If the threshold is out of range.
    """

    images: str | Path
    output: str | Path
    travel: str | Path = ""
    pairs: str = ""
    boxes: Mapping[str, str | Path] = field(default_factory=dict)
    threshold: float | str = "auto"
    overwrite: bool = False
    source: SourceOptions = field(default_factory=SourceOptions)
    encoding: EncodeOptions = field(default_factory=EncodeOptions)

    def __post_init__(self) -> None:
        """Check the threshold."""
        is_number = not isinstance(self.threshold, str) and -1 < self.threshold < 1
        require(self.threshold == "auto" or is_number, "threshold", self.threshold, "auto, or above -1 and below 1")


@dataclass(frozen=True)
class LinkResult:
    """The identities of tracks.

    Attributes:
        folder: Folder of the result.
        table: The table of images with identities.
        tracks: The T tracks.
        identities: Identity of each track, from 1.
        threshold: Least mean similarity of groups that were joined.
        num_across: Number of identities with tracks of several cameras.
        unlinked: For each camera with boxes, the number of its boxes of tracks without an image.
        broken: Path and reason of each image that could not be read.
        notes: Remarks, in sentences: what was known and how much of it was used.
        warnings: Warnings, in sentences.
    """

    folder: Path
    table: Path
    tracks: tuple[Track, ...]
    identities: tuple[int, ...]
    threshold: float
    num_across: int
    unlinked: Mapping[str, int] = field(default_factory=dict)
    broken: tuple[tuple[Path, str], ...] = ()
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def num_identities(self) -> int:
        """Number of identities."""
        return len(set(self.identities))

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON; ``warnings`` only if there are any."""
        plain: dict[str, Any] = {
            "folder": str(self.folder),
            "files": [LINKED, TRACKS, MOT],
            "num_tracks": len(self.tracks),
            "num_identities": self.num_identities,
            "num_across_cameras": self.num_across,
            "threshold": self.threshold,
            "unlinked_boxes": dict(self.unlinked),
            "broken": [{"path": str(path), "reason": reason} for path, reason in self.broken],
            "notes": list(self.notes),
        }
        return plain | ({"warnings": list(self.warnings)} if self.warnings else {})


def link_tracks(request: LinkRequest, *, report: Reporter | None = None) -> LinkResult:
    """Give the tracks of one object one identity, over cameras and time, and write tables of them.

    Args:
        request: The tracks and what is known of the cameras.
        report: Receives progress, notes and warnings; None: nothing is shown.

    Returns:
        LinkResult.

    Raises:
        InputError: If something cannot be used, before any image is encoded.

    Cost: one pass over the images; then all pairs of tracks are compared.

    Example::

        linked = spcl.link_tracks(spcl.LinkRequest("crops/crops.csv", "links"))
        print(linked.num_identities, linked.num_across)
    """
    # Imported here: it needs scipy, and a help text does not.
    from spcl.pairs.pair_sources import pair_sources

    kept = WarningsKept(report)
    folder = Path(request.output)
    check_folder(folder, overwrite=request.overwrite)
    found = images_of(request.images, request.source)
    _check_tracks(found)
    travel = read_travel_times(Path(request.travel)) if request.travel else None
    boxes = read_boxes(request.boxes, tracks_in(found))
    pairs = pair_sources(request.images, PairOptions(request.pairs))
    travel_notes(travel, tracks_in(found))
    say_notes(kept, found.notes)

    from spcl.linking.linked_groups import Constraints, linked_groups

    images, features, broken = _embedded(request, found, kept)
    tracks = tracks_in(images)
    known, contradictions = pairs.known(images.records)
    for contradiction in contradictions:
        kept.warn(contradiction)
    linked = linked_groups(tracks, features, images, Constraints(known, travel), request.threshold)
    identities = numbered_identities(linked.groups, tracks)
    unlinked = write_links(folder, images, tracks, identities, linked.similarities, boxes)
    notes = (*known.notes, *linked.notes)
    say_notes(kept, notes)
    cameras: dict[int, set[str | None]] = {}
    for track, number in zip(tracks, identities.tolist(), strict=True):
        cameras.setdefault(number, set()).add(track.camera)
    return LinkResult(
        folder=folder,
        table=folder / LINKED,
        tracks=tracks,
        identities=tuple(identities.tolist()),
        threshold=linked.threshold,
        num_across=sum(len(of_identity) > 1 for of_identity in cameras.values()),
        unlinked=dict(unlinked),
        broken=broken,
        notes=(*found.notes, *notes),
        warnings=tuple(kept.warnings),
    )


def _check_tracks(images: ImageTable) -> None:
    num = len(tracks_in(images))
    if num == 0:
        raise InputError(
            "the images have no tracks to be linked: give a table with a column track, such as crops.csv of spcl crops",
            code="no-tracks",
        )
    if num > MOST_TRACKS:
        raise InputError(
            f"there are {num} tracks, and at most {MOST_TRACKS} can be linked at once; link shorter times (a table of "
            "some hours), or drop tracks of few boxes",
            code="too-many-tracks",
        )


def _embedded(
    request: LinkRequest, found: ImageTable, report: Reporter
) -> tuple[ImageTable, NDArray[np.float32], tuple[tuple[Path, str], ...]]:
    """The images of tracks that could be read, and their features."""
    from spcl.inference.embedding import EmbedSettings, embed_records
    from spcl.inference.encoder_choice import chosen_encoder

    tracked = found.rows([row for row, record in enumerate(found.records) if record.track is not None])
    if len(tracked) < len(found):
        report.say(f"{len(found) - len(tracked)} image(s) have no track and are not linked")
    runtime = request.encoding.runtime()
    encoder = chosen_encoder(request.encoding.encoder, lambda: tracked.records, report=report)
    embedded = embed_records(
        encoder, tracked.records, EmbedSettings.of(request.encoding, runtime), report=report, name="images"
    )
    unread = {path for path, _ in embedded.broken}
    images = tracked.rows([row for row, record in enumerate(tracked.records) if record.path not in unread])
    return images, embedded.features, embedded.broken
