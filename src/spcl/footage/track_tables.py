"""Tables of tracks with named columns: a frame, a track and a box in each row."""

from __future__ import annotations

import csv
import io
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from spcl.data.placeholders import is_placeholder
from spcl.data.table_options import TableOptions
from spcl.errors import InputError
from spcl.footage.track_boxes import TrackBoxes

NO_TRACK = "without a track number"

_NAMES = {
    "frame": ("frame", "frame_id", "frame_number", "frame_idx", "frame_index"),
    "track": ("track", "track_id", "tracker_id", "id", "object_id"),
    "left": ("left", "x", "bb_left", "x1", "xmin", "x_min"),
    "top": ("top", "y", "bb_top", "y1", "ymin", "y_min"),
    "width": ("width", "w", "bb_width", "box_width"),
    "height": ("height", "h", "bb_height", "box_height"),
    "right": ("right", "x2", "xmax", "x_max"),
    "bottom": ("bottom", "y2", "ymax", "y_max"),
    "confidence": ("confidence", "conf", "score"),
    "camera": ("camera",),
    "identity": ("identity",),
}
"""Names of other programs for each of our columns; the first that a table has is read."""

_WHOLE = re.compile(r"-?\d+(\.0+)?")


def read_track_table(path: Path, text: str, options: TableOptions, notes: tuple[str, ...]) -> TrackBoxes:
    """Read the boxes of a table with named columns.

    A box is left, top, width and height, or left, top, right and bottom, in pixels.

    Args:
        path: Path of the table, for messages.
        text: Its text.
        options: Names of columns that differ.
        notes: Remarks on its encoding.

    Raises:
        InputError: If a column is missing, or a row cannot be understood.
    """
    lines = [line for line in io.StringIO(text, newline="") if line.strip() and not line.lstrip().startswith("#")]
    separator = max(",;\t|", key=lines[0].count)
    try:
        rows = [row for row in csv.reader(lines, delimiter=separator, skipinitialspace=True) if any(row)]
    except csv.Error as error:
        raise InputError(f"the tracks file {path} cannot be read: {error}", code="malformed-table") from error
    header = [cell.strip().lower() for cell in rows[0]]
    places = _places(path, header, options)
    frames, tracks, boxes, confidences, cameras, identities = [], [], [], [], [], []
    left_out: Counter[str] = Counter()
    for number, row in enumerate(rows[1:], start=2):
        cells = {name: row[place].strip() if place < len(row) else "" for name, place in places.items()}
        track = track_name(cells["track"])
        if track is None:
            left_out[NO_TRACK] += 1
            continue
        frames.append(whole_number(path, number, "frame", cells["frame"]))
        tracks.append(track)
        boxes.append(_box(path, number, cells))
        confidence = cells.get("confidence", "")
        confidences.append(_number(path, number, "confidence", confidence) if confidence else np.nan)
        cameras.append(_name(cells.get("camera", "")))
        identities.append(_name(cells.get("identity", "")))
    return TrackBoxes(
        frames=np.array(frames, dtype=np.int64),
        tracks=tuple(tracks),
        boxes=np.array(boxes, dtype=np.float64).reshape(-1, 4),
        confidences=np.array(confidences, dtype=np.float64),
        cameras=tuple(cameras),
        identities=tuple(identities),
        are_shares=False,
        format="table",
        left_out=dict(left_out),
        notes=notes,
    )


def track_name(cell: str) -> str | None:
    """The name of a track: a whole number as its digits, other text unchanged; None for an empty cell or -1."""
    text = cell.strip()
    if _WHOLE.fullmatch(text):
        text = text.partition(".")[0]
        return None if text.startswith("-") else text
    return None if not text or is_placeholder(text) else text


def whole_number(path: Path, line: int, column: str, cell: str) -> int:
    """Parse a whole number that is not negative, also written as 3.0.

    Raises:
        InputError: If the cell has another value.
    """
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if not value.is_integer() or not 0 <= value < 2**53:
        raise InputError(
            f"{path} has the {column} {cell!r} in row {line}; expected a whole number from 0", code="malformed-table"
        )
    return int(value)


def _places(path: Path, header: Sequence[str], options: TableOptions) -> dict[str, int]:
    """The place of each column that is read, by our name of it."""
    places: dict[str, int] = {}
    for ours, theirs in options.renamed.items():
        if ours not in _NAMES:
            raise InputError(
                f"--columns {ours}={theirs}: a table of tracks has no column {ours!r} of ours; it has "
                f"{', '.join(_NAMES)}",
                code="no-such-column",
            )
        if theirs.lower() not in header:
            raise InputError(
                f"--columns {ours}={theirs}: {path} has no column {theirs!r}; it has {', '.join(header)}",
                code="no-such-column",
            )
        places[ours] = header.index(theirs.lower())
    for ours, names in _NAMES.items():
        found = next((name for name in names if name in header), None)
        if ours not in places and found is not None:
            places[ours] = header.index(found)
    needed = ["frame", "track", "left", "top"]
    if not {"width", "height"} <= places.keys() and not {"right", "bottom"} <= places.keys():
        needed += ["width", "height"]
    missing = [name for name in needed if name not in places]
    if missing:
        raise InputError(
            f"{path} has no column {missing[0]!r}; it has {', '.join(header)}. Expected frame, track, left, top, width "
            f"and height (or right and bottom); other names are given with --columns {missing[0]}=NAME",
            code="no-such-column",
        )
    return places


def _box(path: Path, line: int, cells: Mapping[str, str]) -> list[float]:
    left, top = (_number(path, line, name, cells[name]) for name in ("left", "top"))
    if "width" in cells and "height" in cells:
        return [left, top, *(_number(path, line, name, cells[name]) for name in ("width", "height"))]
    right, bottom = (_number(path, line, name, cells[name]) for name in ("right", "bottom"))
    return [left, top, right - left, bottom - top]


def _number(path: Path, line: int, column: str, cell: str) -> float:
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InputError(f"{path} has the {column} {cell!r} in row {line}; expected a number", code="malformed-table")
    return value


def _name(cell: str) -> str | None:
    return None if not cell or is_placeholder(cell) else cell
