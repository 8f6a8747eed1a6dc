"""Data sets from tables: CSV or Parquet with the columns ``path, identity?, camera?, time?, track?, split?``.

Paths are relative to the table's folder. Identities and cameras may be any text or number; an empty cell or a word such
as ``unknown`` means unknown. There is one table with a ``split`` column (train, query, gallery; without it all images
are training images), or one table for each split. ``table_files.py`` reads cells, ``listed_images.py`` images.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from spcl.data.image_files import number_in_order
from spcl.data.listed_images import SPLITS, ListedImages
from spcl.data.missing_images import missing_images
from spcl.data.table_files import SUFFIXES
from spcl.data.track_columns import boxes_of, note_of_tracks, track_names
from spcl.errors import InputError
from spcl.records import Record, ReIDDataset

__all__ = [
    "SPLITS",
    "SUFFIXES",
    "dataset_of",
    "names_splits",
    "require_images",
    "tables_of_prefix",
    "tables_of_splits",
]

_PREFIXED = (".csv", ".tsv", ".parquet")
"""Not ``.txt``: the lists of other data sets are called ``list_train.txt``."""


def names_splits(text: str) -> bool:
    """Whether a text means a table for each split: ``train=a.csv,query=b.csv``."""
    first, equals, _ = text.partition("=")
    return bool(equals) and first.strip() in SPLITS


def tables_of_splits(text: str) -> dict[str, Path]:
    """Parse ``train=a.csv,query=b.csv`` to tables by split.

    Raises:
        InputError: If there are two tables for one split, or a split is unknown.
    """
    paths: dict[str, Path] = {}
    for part in text.split(","):
        split, _, path = part.partition("=")
        if split.strip() not in SPLITS:
            raise InputError(f"there is no split {split.strip()!r}; expected {', '.join(SPLITS)}", code="no-such-split")
        if split.strip() in paths:
            raise InputError(
                f"{text!r} names two tables for {split.strip()}; give one table for each split",
                code="split-given-twice",
            )
        paths[split.strip()] = Path(path.strip())
    return paths


def tables_of_prefix(prefix: Path) -> dict[str, Path]:
    """Find the tables ``PREFIX_train``, ``PREFIX_query``, ``PREFIX_gallery`` (.csv, .tsv or .parquet) that exist.

    Raises:
        InputError: If there are two tables for one split.
    """
    tables: dict[str, Path] = {}
    for split in SPLITS:
        names = [prefix.with_name(f"{prefix.name}_{split}{suffix}") for suffix in _PREFIXED]
        found = [path for path in names if path.is_file()]
        if len(found) > 1:
            raise InputError(
                f"{prefix} means two tables for {split}: {found[0].name} and {found[1].name}; "
                f"name the one you mean: {split}={found[0]}",
                code="split-given-twice",
            )
        if found:
            tables[split] = found[0]
    return tables


def dataset_of(name: str, listed: ListedImages, *, keep_missing: bool = False) -> ReIDDataset:
    """Make a data set of the images of tables.

    Args:
        name: Name of the data set in reports.
        listed: Images and columns of the tables.
        keep_missing: Whether to keep listed images that are missing, for callers that leave out unreadable images.

    Raises:
        InputError: If listed images are missing; with ``keep_missing``, only if all are.
    """
    require_images(name, listed, keep_missing=keep_missing)
    unknown: list[str | None] = [None] * len(listed.paths)
    identities, cameras = (listed.columns.get(column, unknown) for column in ("identity", "camera"))
    camera_numbers = _numbers(cameras)
    trains = [split == "train" for split in listed.splits]
    of_train, of_test = (
        _numbers([identity for identity, is_train in zip(identities, trains, strict=True) if is_train == wanted])
        for wanted in (True, False)
    )
    splits: dict[str, list[Record]] = {split: [] for split in SPLITS}
    tracked = _tracked(listed, cameras)
    for row, (path, split, identity, camera) in enumerate(
        zip(listed.paths, listed.splits, identities, cameras, strict=True)
    ):
        numbers = of_train if split == "train" else of_test
        record = Record(path, numbers.get(identity or ""), camera_numbers.get(camera or ""), **tracked.get(row, {}))
        splits[split].append(record)
    known = None not in cameras
    return ReIDDataset(
        name,
        tuple(splits["train"]),
        tuple(splits["query"]),
        tuple(splits["gallery"]),
        protocol="market1501" if known else "no-camera",
        notes=(*listed.notes, *note_of_tracks([record for part in splits.values() for record in part])),
    )


def _tracked(listed: ListedImages, cameras: Sequence[str | None]) -> dict[int, dict[str, Any]]:
    """Give track, frame, time and box of the rows with a track, by row."""
    num = len(listed.paths)
    unknown: list[Any] = [None] * num
    names = track_names(listed.columns.get("track", unknown), cameras)
    frames, times = (listed.columns.get(column, unknown) for column in ("frame", "time"))
    boxes = boxes_of(listed.columns, num) if any(names) else unknown
    return {
        row: {"track": names[row], "frame": frames[row], "time": times[row], "box": boxes[row]}
        for row in range(num)
        if names[row] is not None
    }


def _numbers(values: list[str | None]) -> dict[str, int]:
    return number_in_order([value for value in values if value])


def require_images(name: str, listed: ListedImages, *, keep_missing: bool) -> None:
    """Raise an ``InputError`` if listed images are missing; with ``keep_missing``, only if all are."""
    missing = listed.missing
    # If all are missing, the table lies in the wrong place, and no image could be read.
    if not missing or (keep_missing and len(missing) < len(listed.paths)):
        return
    raise missing_images(name, len(missing), len(listed.paths), missing[0], listed.notes)
