"""Tracks: images that a tracker followed as one object in one camera, from the columns of a table or from file names.

A track number is that of one camera: trackers count from 1 in each video. Where the table knows no camera, a track is
one track of the whole table. The columns ``frame``, ``x``, ``y``, ``w`` and ``h`` are read only beside a column
``track``; without it they are columns of the user's own.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from math import isfinite
from pathlib import Path
from typing import Any

from spcl.data.placeholders import is_missing, is_placeholder
from spcl.errors import InputError
from spcl.records import Record

CROPS_TABLE = "crops.csv"
"""Name of the table of crops in a folder that ``spcl crops`` wrote."""

BOX = ("x", "y", "w", "h")
"""The columns of a box: left, top, width and height in pixels of the frame."""

_MARS = re.compile(r"((?:\d{4}|00-1)C\d)T(\d{4})F\d{3}")
"""Names of MARS: identity, camera, tracklet of both, image of the tracklet."""


def read_track_columns(columns: dict[str, list[Any]], place: Callable[[int], str]) -> None:
    """Turn the columns of frames and boxes into numbers, in place.

    Args:
        columns: Columns of a table with the column ``track``.
        place: Gives the place of a row, for an error.

    Raises:
        InputError: If a frame is not a whole number, or a value of a box is not a number.
    """
    for name in ("frame", *(BOX if all(side in columns for side in BOX) else ())):
        if name in columns:
            columns[name] = [_number(cell, name, row, place) for row, cell in enumerate(columns[name])]


def boxes_of(columns: Mapping[str, Sequence[Any]], num: int) -> list[tuple[float, float, float, float] | None]:
    """Give the box of each of ``num`` rows; None where one of its values is unknown."""
    if not all(side in columns for side in BOX):
        return [None] * num
    sides = zip(*(columns[side] for side in BOX), strict=True)
    return [None if None in box else tuple(map(float, box)) for box in sides]  # type: ignore[misc]


def track_names(tracks: Sequence[str | None], cameras: Sequence[str | None]) -> list[str | None]:
    """Name the track of each image, differently in different cameras: ``2/17`` is track 17 of camera 2."""
    return [
        track if track is None or camera is None else f"{camera}/{track}"
        for track, camera in zip(tracks, cameras, strict=True)
    ]


def tracks_in_names(paths: Sequence[Path]) -> list[str | None]:
    """Read tracks from file names like those of MARS (``0001C1T0001F001.jpg``); all None unless every name is such.

    The number of the image in its tracklet is no number of a frame: every tracklet counts from 1.
    """
    found = [_MARS.fullmatch(path.stem) for path in paths]
    return [f"{name[1]}T{name[2]}" for name in found if name] if all(found) else [None] * len(paths)


def repeated_tracks(tables: Sequence[Sequence[Record]]) -> set[str]:
    """Give the names of tracks that are in several tables: these are different tracks."""
    counts = Counter(name for records in tables for name in {record.track for record in records if record.track})
    return {name for name, count in counts.items() if count > 1}


def of_table(record: Record, number: int, repeated: Collection[str]) -> Record:
    """Give a record whose track has the number of its table before its name, if other tables repeat the name."""
    return replace(record, track=f"{number}:{record.track}") if record.track in repeated else record


def note_of_tracks(records: Sequence[Record]) -> tuple[str, ...]:
    """A sentence on the tracks of images; empty where there are none."""
    tracked = [record for record in records if record.track is not None]
    if not tracked:
        return ()
    timed = sum(record.frame is not None or record.time is not None for record in tracked)
    num = len({record.track for record in tracked})
    return (
        f"track known for {len(tracked)} of {len(records)} images: {num} track(s); frame or time known for {timed} of "
        "these images",
    )


def note_of_unread_crops(folder: Path) -> tuple[str, ...]:
    """A sentence on a table of crops in a folder that is read as a folder of images; empty if there is none."""
    if not (folder / CROPS_TABLE).is_file():
        return ()
    return (
        f"{folder} is read as a folder of images: cameras, tracks and times in {CROPS_TABLE} are not used; give "
        f"{folder / CROPS_TABLE} to use them",
    )


def _number(cell: Any, name: str, row: int, place: Callable[[int], str]) -> int | float | None:
    if is_missing(cell) or (isinstance(cell, str) and name == "frame" and is_placeholder(cell)):
        return None
    try:
        number = float(cell)
    except (TypeError, ValueError):
        number = float("nan")
    if isfinite(number) and number.is_integer():
        return int(number)
    if not isfinite(number) or name == "frame":
        kind = "the whole number of a frame" if name == "frame" else "a number of pixels"
        raise InputError(
            f"the column {name} holds {cell!r} in {place(row)}; expected {kind}. Beside a column track it is read as a "
            "part of the track; give it another name (--columns my_NAME=NAME) if it means something else",
            code="not-a-number",
        )
    return number
