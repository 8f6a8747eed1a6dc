"""The images that a page is about: records, what their source says of them, and their features where there are any."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spcl.data.catalogue import load_source
from spcl.data.folder_dataset import split_for_evaluation
from spcl.data.image_key import image_keys
from spcl.data.image_sources import images_of
from spcl.data.image_table import ImageTable
from spcl.data.source_options import SourceOptions
from spcl.errors import InputError
from spcl.inference.query_checks import can_evaluate, check_queries
from spcl.records import Record, ReIDDataset


@dataclass(frozen=True)
class ShownImages:
    """Images of a page, each once.

    Attributes:
        records: ``[N]`` records; numbers of identities and cameras, None where unknown.
        identities: ``[N]`` identities as text, None where unknown.
        cameras: ``[N]`` cameras as text, None where unknown.
        times: ``[N]`` times as text, None where unknown.
        tracks: ``[N]`` tracks as text, None where unknown.
        splits: ``[N]`` ``train``, ``query`` or ``gallery``; empty where the source has no splits.
        features: ``[N, D]`` float32 unit rows; None: the images were not encoded.
        broken: Path and reason of each image that could not be read.
        left_out: Path and reason of each file that was found and is not used.
        notes: Remarks, in sentences.
    """

    records: tuple[Record, ...]
    identities: tuple[str | None, ...]
    cameras: tuple[str | None, ...]
    times: tuple[str | None, ...]
    tracks: tuple[str | None, ...]
    splits: tuple[str, ...]
    features: NDArray[np.float32] | None = None
    broken: tuple[tuple[Path, str], ...] = ()
    left_out: tuple[tuple[Path, str], ...] = ()
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        """Number of images."""
        return len(self.records)

    def rows(self, kept: Sequence[int]) -> ShownImages:
        """Give some of the images, in the order of ``kept``."""
        columns = {
            name: tuple(getattr(self, name)[row] for row in kept)
            for name in ("records", "identities", "cameras", "times", "tracks", "splits")
        }
        features = None if self.features is None else self.features[list(kept)]
        return replace(self, features=features, **columns)

    def with_notes(self, *notes: str) -> ShownImages:
        """Give the same images with further remarks."""
        return replace(self, notes=tuple(dict.fromkeys((*self.notes, *notes))))


@dataclass(frozen=True)
class ReadSource:
    """What was read from a source of images.

    Attributes:
        images: All its images.
        dataset: The same as a data set, with queries and gallery if it can be evaluated; None: there are no labels.
        reason: Why there is no evaluation, in a sentence; empty if there is one.
    """

    images: ShownImages
    dataset: ReIDDataset | None
    reason: str = ""


def read_source(
    source: str | Path | Sequence[str | Path], options: SourceOptions | None = None, *, draw_queries: bool = False
) -> ReadSource:
    """Read the images of a source, with labels if it has any.

    Args:
        source: A registered name, a folder, a table, or a list of these.
        options: How the source is read; None: the defaults.
        draw_queries: Whether a folder per identity without queries is split into queries and gallery, as ``spcl
            evaluate`` does; otherwise names of folders are not taken for identities.

    Raises:
        InputError: If the source does not exist, or has no images.
    """
    options = options or SourceOptions()
    plain = images_of(source, options)
    if not isinstance(source, str | Path):
        return ReadSource(shown_table(plain), None, "labels of a list of sources are not read")
    try:
        dataset = load_source(source, options=options, keep_missing=True, labelled=True).dataset
        if not can_evaluate(dataset):
            if not draw_queries and "identity" not in plain.columns:
                return ReadSource(shown_table(plain), None, "the images have no queries and no gallery")
            dataset = split_for_evaluation(dataset)
        check_queries(dataset, dataset.protocol)
        return ReadSource(shown_table(images_of(source, options, labelled=True)), dataset)
    except InputError as error:
        # All other parts of a page need no labels.
        return ReadSource(shown_table(plain), None, str(error))


def shown_table(table: ImageTable) -> ShownImages:
    """Give the images of a table, with its columns as text."""
    columns = table.columns
    identities = texts(columns.get("identity"), len(table))
    if "identity" not in columns:
        identities = _names_of_identities(table.records)
    cameras = texts(columns.get("camera"), len(table))
    if all(camera is None for camera in cameras):
        cameras = tuple(None if record.camera is None else str(record.camera) for record in table.records)
    return ShownImages(
        records=table.records,
        identities=identities,
        cameras=cameras,
        times=texts(columns.get("time"), len(table)),
        tracks=tuple(record.track for record in table.records),
        splits=table.splits,
        left_out=table.left_out,
        notes=table.notes,
    )


def _names_of_identities(records: Sequence[Record]) -> tuple[str | None, ...]:
    """Give the names of identities: of their folders, or the numbers before ``_`` in names of files, or the numbers.

    Folders and numbers are names only where each identity has one of its own.
    """
    folders = [record.path.parent.name for record in records]
    prefixes = [record.path.name.partition("_")[0] for record in records]
    for candidates in (folders, prefixes):
        pairs = {
            (record.identity, name)
            for record, name in zip(records, candidates, strict=True)
            if record.identity is not None
        }
        names = dict(pairs)
        if len(pairs) == len(names) == len(set(names.values())):
            return tuple(None if record.identity is None else names[record.identity] for record in records)
    return tuple(None if record.identity is None else str(record.identity) for record in records)


def texts(values: Sequence[Any] | None, count: int) -> tuple[str | None, ...]:
    """Give the values of a column as text; a column that is missing has none."""
    if values is None:
        return (None,) * count
    return tuple(
        None if value is None else value.isoformat(sep=" ") if isinstance(value, datetime) else str(value)
        for value in values
    )


def rows_of(images: ShownImages, records: Sequence[Record]) -> NDArray[np.int64]:
    """Find the rows of records among images, -1 where an image is missing (it could not be read)."""
    keys = image_keys([record.path for record in (*images.records, *records)])
    row_of = {key: row for row, key in enumerate(keys[: len(images)])}
    return np.array([row_of.get(key, -1) for key in keys[len(images) :]], dtype=np.int64)


def in_order(name: str) -> tuple[bool, int, str]:
    """Key that orders names: numbers by value, before other names."""
    is_number = name.isdecimal() and len(name) < 19
    return (not is_number, int(name) if is_number else 0, name)
