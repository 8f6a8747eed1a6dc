"""The images that tables list, each once, with the columns of the tables.

Rows of one image are merged. Rows that contradict each other are an error, because one of them is wrong, and the
program cannot decide which.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spcl.data.camera_parsing import camera_in_name
from spcl.data.image_key import image_keys, shown_path
from spcl.data.missing_images import missing_images
from spcl.data.placeholders import (
    is_placeholder,
    note_of_a_dominant_identity,
    note_of_placeholders,
    without_placeholders,
)
from spcl.data.repeated_images import contradiction
from spcl.data.table_files import Table, read_table
from spcl.data.table_options import TableOptions
from spcl.data.table_paths import are_all_missing, paths_of, plain_path
from spcl.data.time_parsing import times_of
from spcl.data.track_columns import read_track_columns
from spcl.errors import InputError

SPLITS = ("train", "query", "gallery")

_NAMES = ("identity", "group", "camera", "track")
_WHOLE = re.compile(r"-?\d+\.0+")
_DIGITS = re.compile(r"-?\d+(\.0+)?")
_NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?")
"""A number without zeros before it: 007 is a name."""

_LIKELY = {
    "identity": ("pid", "person_id", "vehicle_id", "animal_id", "individual_id", "individual", "track_id", "label"),
    "camera": ("camid", "cam_id", "camera_id", "cam"),
    "time": ("timestamp", "datetime", "date_time", "datetimeoriginal"),
    "track": ("track_id", "tracklet", "tracklet_id", "tid"),
}
"""Names of other programs for our columns; they are named, not used, for they may mean something else."""

_MANY = 10_000
"""In larger tables, whether any image exists is found out first."""

_NOT_OF_IMAGES = ("path", "vector")
_OF_PAIRS = ("similarity", "distance")
"""Columns of results that describe a pair of images, not an image."""


@dataclass(frozen=True)
class ListedImages:
    """Images of tables: one row for each image and split.

    Attributes:
        paths: Absolute path of each image, its links not resolved.
        keys: Key of each image, from ``image_key.image_key``.
        splits: Split of each row: ``train``, ``query`` or ``gallery``.
        columns: Columns of the tables, by name: ``identity``, ``camera`` and ``track`` as text (None where unknown),
            ``time`` as ``datetime``, others as in the table. In names, ``_`` replaces what is neither a letter nor a
            digit.
        missing: Paths of the images that do not exist.
        notes: Remarks on the tables, in sentences.
    """

    paths: list[Path]
    keys: list[str]
    splits: list[str]
    columns: dict[str, list[Any]]
    missing: list[Path]
    notes: tuple[str, ...]


@dataclass
class _Rows:
    """Rows of all tables, before rows of one image are merged."""

    paths: list[Path]
    is_there: list[bool]
    splits: list[str]
    columns: dict[str, list[Any]]
    places: list[tuple[Table, int]]
    notes: list[str]

    def place(self, row: int) -> str:
        table, at = self.places[row]
        return f"{table.place(at)} of {table.file}"


def listed_images(
    tables: Mapping[str, Path], options: TableOptions | None = None, *, with_times: bool = True
) -> ListedImages:
    """Read tables of images.

    Args:
        tables: A table for each split; or one table under an empty name, with a column ``split`` or only for training.
        options: Names of columns and the format of times.
        with_times: Whether to read the column ``time``, which training and evaluation use only for tracks.

    Raises:
        InputError: If a table cannot be read, a value does not fit its column, two columns get one name, or two rows
            of one image differ; the message has file, line and value.
    """
    options = options or TableOptions()
    rows = _read(tables, options)
    # A column without a value is as good as none.
    if "group" in rows.columns and not any(cell is not None for cell in rows.columns.get("identity", ())):
        rows.columns["identity"] = rows.columns.pop("group")
        rows.notes.append("the column 'group' is read as identity: one group is one object")
    rows.notes += _notes_of_likely_names(rows.columns)
    if "camera" not in rows.columns:
        _add_cameras_of_names(rows)
    for name in ("identity", "camera", "track"):
        if name in rows.columns:
            kept, found = without_placeholders([_text(cell) for cell in rows.columns[name]])
            rows.columns[name] = kept
            rows.notes += note_of_placeholders(found, name)
    has_tracks = any(cell is not None for cell in rows.columns.get("track", ()))
    if has_tracks:
        read_track_columns(rows.columns, rows.place)
    if (with_times or has_tracks) and "time" in rows.columns:
        rows.columns["time"] = times_of(rows.columns["time"], rows.place, options.time_format)
    elif "time" in rows.columns:
        del rows.columns["time"]
    return _each_once(rows)


def _notes_of_likely_names(columns: Mapping[str, list[Any]]) -> list[str]:
    """Notes on columns of a table that look like one of ours under another name, where ours is missing."""
    notes = []
    for ours, likely in _LIKELY.items():
        found = next((name for name in likely if name in columns), "")
        if found and ours not in columns:
            notes.append(f"there is no column {ours}; where {found!r} is meant, give --columns {ours}={found}")
    return notes


def _add_cameras_of_names(rows: _Rows) -> None:
    cameras = [camera_in_name(path) for path in rows.paths]
    if None not in cameras:
        rows.columns["camera"] = [str(camera) for camera in cameras]
        rows.notes.append("there is no column camera: cameras are read from the file names (_c3)")


def _read(tables: Mapping[str, Path], options: TableOptions) -> _Rows:
    rows = _Rows([], [], [], {}, [], [])
    read = {split: read_table(path, options) for split, path in tables.items()}
    num = sum(map(len, read.values()))
    if num > _MANY and all(map(are_all_missing, read.values())):
        first = next(iter(read.values()))
        raise missing_images(
            first.file.stem, num, num, first.file.parent / plain_path(str(first.columns["path"][0])), ()
        )
    for split, table in read.items():
        found = paths_of(table)
        before = len(rows.paths)
        rows.paths += found.paths
        rows.is_there += found.is_there
        rows.splits += [split] * len(table) if split else _splits(table)
        rows.places += [(table, row) for row in range(len(table))]
        rows.notes += [*table.notes, *found.notes, *_notes_of_results(table)]
        for name, cells in _own_names(table).items():
            rows.columns.setdefault(name, [None] * before).extend(cells)
        for cells in rows.columns.values():
            cells += [None] * (len(rows.paths) - len(cells))
    return rows


def _splits(table: Table) -> list[str]:
    if "split" not in table.columns:
        return ["train"] * len(table)
    splits = []
    for row, cell in enumerate(table.columns["split"]):
        split = "" if cell is None else str(cell).strip().lower()
        if split not in SPLITS:
            raise InputError(
                f"{table.file}: the column split holds {cell or '(empty)'!r} in {table.place(row)}; "
                f"expected {', '.join(SPLITS)}",
                code="no-such-split",
            )
        splits.append(split)
    return splits


def _own_names(table: Table) -> dict[str, list[Any]]:
    """The columns other than the path, under names of letters, digits and ``_``."""
    first_of: dict[str, str] = {}
    columns = {}
    results = _columns_of_results(table)
    for name, cells in table.columns.items():
        plain = re.sub(r"\W+", "_", name)
        if name in _NOT_OF_IMAGES or plain in results:
            continue
        if first_of.setdefault(plain, name) != name:
            raise InputError(
                f"{table.file} has the columns {first_of[plain]!r} and {name!r}, which both become {plain!r}; "
                "rename one",
                code="column-given-twice",
            )
        columns[plain] = _whole_numbers(cells) if plain in _NAMES else cells
    return columns


def _whole_numbers(cells: list[Any]) -> list[Any]:
    """Write ``3.0`` as ``3`` where all cells are numbers; pandas writes them like this if cells are missing."""
    distinct = {cell for cell in cells if isinstance(cell, str)}
    if not any(_WHOLE.fullmatch(cell) for cell in distinct):
        return cells
    if not all(_DIGITS.fullmatch(cell) or is_placeholder(cell) for cell in distinct):
        return cells
    return [cell.partition(".")[0] if isinstance(cell, str) and _WHOLE.fullmatch(cell) else cell for cell in cells]


def _columns_of_results(table: Table) -> list[str]:
    """The columns that are results: what a search found, and similarities."""
    if {"rank", "found_path"} <= set(table.columns):
        return [name for name in table.columns if name in ("rank", *_OF_PAIRS) or name.startswith("found_")]
    return [name for name in table.columns if name in _OF_PAIRS]


def _notes_of_results(table: Table) -> list[str]:
    names = _columns_of_results(table)
    if not names:
        return []
    listed = f"column {names[0]!r} is" if len(names) == 1 else f"columns {', '.join(map(repr, names))} are"
    keep = f"--columns my_{names[0]}={names[0]} keeps it"
    return [f"{table.file}: the {listed} not used, because results have columns of that name; {keep}"]


def _text(cell: Any) -> str | None:
    """A cell as text; whole numbers are the same from CSV and Parquet."""
    if cell is None:
        return None
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell).strip() or None


def _each_once(rows: _Rows) -> ListedImages:
    keys = image_keys(rows.paths)
    first: dict[str, int] = {}
    again: dict[str, list[int]] = {}
    for row, key in enumerate(keys):
        if first.setdefault(key, row) != row:
            again.setdefault(key, [first[key]]).append(row)
    for group in again.values():
        for name, cells in rows.columns.items():
            if name != "split":
                _join(group, name, cells, rows.place, rows.paths)
    first_in_split: dict[tuple[str, str], int] = {}
    for row, key in enumerate(keys):
        first_in_split.setdefault((key, rows.splits[row]), row)
    kept = list(first_in_split.values())
    notes = list(rows.notes)
    if len(kept) < len(keys):
        notes.append(f"{len(keys) - len(kept)} row(s) repeat an image of an earlier row; each image is used once")
    columns = {name: [cells[row] for row in kept] for name, cells in rows.columns.items()}
    identities = rows.columns.get("identity", [])
    notes += note_of_a_dominant_identity([identities[row] for row in first.values()] if identities else [])
    missing = [rows.paths[row] for row in kept if not rows.is_there[row]]
    return ListedImages(
        [rows.paths[row] for row in kept],
        [keys[row] for row in kept],
        [rows.splits[row] for row in kept],
        columns,
        missing,
        tuple(dict.fromkeys(notes)),
    )


def _join(
    group: Sequence[int], name: str, cells: list[Any], place: Callable[[int], str], paths: Sequence[Path]
) -> None:
    """Give all rows of one image the value that some of them have.

    Raises:
        InputError: If they have different values.
    """
    said = [row for row in group if cells[row] is not None]
    for row in said[1:]:
        if not _are_equal(cells[row], cells[said[0]]):
            raise contradiction(
                name,
                f"one image has two values of {name}: {shown_path(paths[row])} has {str(cells[said[0]])!r} in "
                f"{place(said[0])} and {str(cells[row])!r} in {place(row)}. Correct one of the rows, or "
                "leave the cell empty in one of them",
            )
    for row in group:
        cells[row] = cells[said[0]] if said else None


def _are_equal(one: Any, other: Any) -> bool:
    """Whether two cells have one value; a number may be written as 3 in one table and as 3.0 in another."""
    if str(one) == str(other):
        return True
    numbers = [_NUMBER.fullmatch(str(cell)) for cell in (one, other)]
    return all(numbers) and float(one) == float(other)
