"""Reading the boxes of tracks in the formats of trackers.

Three formats are recognised by their content:

* MOTChallenge, also written by BoxMOT: rows ``frame, id, left, top, width, height, confidence, ...`` without a heading,
  separated by commas or blanks;
* ultralytics' ``save_txt``: a folder with a text for each frame, ``NAME_FRAME.txt``, of rows ``class x y width height
  [confidence] id`` with the middle of the box, in shares of the picture;
* a table with named columns (``track_tables.py``).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from spcl.data.image_files import what_is_there
from spcl.data.text_files import read_text
from spcl.errors import InputError
from spcl.footage.track_boxes import TrackBoxes, TrackFileOptions
from spcl.footage.track_tables import NO_TRACK, read_track_table, track_name, whole_number

_LABELS = re.compile(r"(.*)_(\d+)\.txt")
_EXPECTED = (
    "expected rows of MOTChallenge (frame, id, left, top, width, height, confidence), a folder of labels of "
    "ultralytics (NAME_FRAME.txt), or a table with the columns frame, track, left, top, width, height"
)


def read_tracks(path: Path, options: TrackFileOptions, *, video: str = "") -> TrackBoxes:
    """Read the boxes of a tracker.

    Args:
        path: A text file or table, or a folder of labels.
        options: Names of columns.
        video: Name of the video without its ending; of a folder with labels of several videos, only the labels of this
            one are read.

    Raises:
        InputError: If there is no such file, its format is not recognised, a row cannot be understood, or no row
            belongs to a track.
    """
    if not path.exists():
        raise InputError(f"there is no tracks file {path}: {what_is_there(path)}", code="no-such-file")
    found = _read_labels(path, video) if path.is_dir() else _read_file(path, options)
    if options.columns and found.format != "table":
        raise InputError(
            f"--columns {options.columns} is for a table with named columns, and {path} has the format of "
            f"{found.format}; leave it out",
            code="option-does-not-apply",
        )
    if not len(found):
        reasons = ", ".join(f"{count} {reason}" for reason, count in found.left_out.items())
        raise InputError(
            f"{path} has no box of a track{f' ({reasons})' if reasons else ''}; {_EXPECTED}. Detections need a tracker "
            "first",
            code="no-tracks",
        )
    return found


def _read_file(path: Path, options: TrackFileOptions) -> TrackBoxes:
    text, notes = read_text(path)
    lines = [(number, line) for number, line in enumerate(text.splitlines(), start=1) if line.strip()]
    lines = [(number, line) for number, line in lines if not line.lstrip().startswith("#")]
    if not lines:
        raise InputError(f"the tracks file {path} is empty; {_EXPECTED}", code="empty-table")
    if all(_is_number(cell) for cell in _cells(lines[0][1])):
        return _read_mot(path, lines, notes)
    return read_track_table(path, text, options.table, notes)


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.split(",")] if "," in line else line.split()


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _read_mot(path: Path, lines: Sequence[tuple[int, str]], notes: tuple[str, ...]) -> TrackBoxes:
    frames, tracks, boxes, confidences = [], [], [], []
    left_out: Counter[str] = Counter()
    for number, line in lines:
        cells = _cells(line)
        if len(cells) < 6:
            raise InputError(
                f"{path} has {len(cells)} values in line {number}; {_EXPECTED}",
                code="malformed-table",
            )
        values = _numbers(path, number, cells)
        name = track_name(cells[1])
        if name is None:
            left_out[NO_TRACK] += 1
            continue
        frames.append(whole_number(path, number, "frame", cells[0]))
        tracks.append(name)
        boxes.append(values[2:6])
        # Some trackers write -1 for a confidence that they do not know.
        confidences.append(values[6] if len(values) > 6 and values[6] >= 0 else np.nan)
    return _track_boxes(frames, tracks, boxes, confidences, "MOTChallenge", left_out, notes)


def _read_labels(folder: Path, video: str) -> TrackBoxes:
    named = [(found, file) for file in sorted(folder.iterdir()) if (found := _LABELS.fullmatch(file.name))]
    videos = sorted({found[1] for found, _ in named})
    if not named:
        raise InputError(
            f"there are no labels NAME_FRAME.txt in {folder}: {what_is_there(folder)}; {_EXPECTED}", code="no-tracks"
        )
    notes: tuple[str, ...] = ()
    if len(videos) > 1:
        if video not in videos:
            raise InputError(
                f"{folder} has the labels of {len(videos)} videos ({', '.join(videos[:4])}), and none is called "
                f"{video}; give a folder with the labels of this video",
                code="ambiguous-folder",
            )
        notes = (f"{folder}: the labels of {len(videos) - 1} other video(s) are not read",)
        named = [(found, file) for found, file in named if found[1] == video]
    frames, tracks, boxes, confidences = [], [], [], []
    left_out: Counter[str] = Counter()
    for found, file in sorted(named, key=lambda entry: int(entry[0][2])):
        for number, line in enumerate(read_text(file)[0].splitlines(), start=1):
            cells = line.split()
            if not cells:
                continue
            if not 5 <= len(cells) <= 7:
                raise InputError(
                    f"{file} has {len(cells)} values in line {number}; expected class, x, y, width, height, confidence "
                    "and id",
                    code="malformed-table",
                )
            values = _numbers(file, number, cells)
            # With six values the last is the number of the track, or the confidence of a detection without one.
            name = track_name(cells[-1]) if len(cells) > 5 and values[-1].is_integer() else None
            if name is None:
                left_out[NO_TRACK] += 1
                continue
            x, y, width, height = values[1:5]
            frames.append(int(found[2]))
            tracks.append(name)
            boxes.append([x - width / 2, y - height / 2, width, height])
            confidences.append(values[5] if len(cells) == 7 else np.nan)
    return _track_boxes(frames, tracks, boxes, confidences, "ultralytics", left_out, notes)


def _numbers(path: Path, line: int, cells: Sequence[str]) -> list[float]:
    values = []
    for cell in cells:
        if not _is_number(cell) or not np.isfinite(float(cell)):
            raise InputError(f"{path} has {cell!r} in line {line}, which is no number", code="malformed-table")
        values.append(float(cell))
    return values


def _track_boxes(
    frames: Sequence[int],
    tracks: Sequence[str],
    boxes: Sequence[Sequence[float]],
    confidences: Sequence[float],
    name: str,
    left_out: Counter[str],
    notes: tuple[str, ...],
) -> TrackBoxes:
    return TrackBoxes(
        frames=np.array(frames, dtype=np.int64),
        tracks=tuple(tracks),
        boxes=np.array(boxes, dtype=np.float64).reshape(-1, 4),
        confidences=np.array(confidences, dtype=np.float64),
        cameras=(None,) * len(tracks),
        identities=(None,) * len(tracks),
        are_shares=name == "ultralytics",
        format=name,
        left_out=dict(left_out),
        notes=notes,
    )
