"""The tracks of images, and the files in which their identities are written.

``linked.csv`` has the images with their identity, and is a table of images for every other command; ``tracks.csv`` has
a row for each track; ``mot/CAMERA.txt`` is text of MOTChallenge with identities in the place of track numbers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spcl.atomic_files import check_way, flush
from spcl.atomic_folders import folder_written_aside
from spcl.data.image_table import ImageTable
from spcl.data.table_files import write_table
from spcl.errors import InputError
from spcl.footage.crops_folder import safe_name
from spcl.footage.track_boxes import TrackBoxes, TrackFileOptions
from spcl.footage.track_files import read_tracks
from spcl.records import Record, tracks_of

LINKED, TRACKS, MOT = "linked.csv", "tracks.csv", "mot"
_TRACK_COLUMNS = (
    "camera",
    "track",
    "identity",
    "num_images",
    "first_frame",
    "last_frame",
    "start",
    "end",
    "similarity",
)


@dataclass(frozen=True)
class Track:
    """One track.

    Attributes:
        camera: Name of its camera; None: unknown.
        track: Its name in this camera.
        rows: Rows of its images.
        start: Time of its first image; None: unknown.
        end: Time of its last image; None: unknown.
        frames: First and last frame of its images; None: unknown.
    """

    camera: str | None
    track: str
    rows: tuple[int, ...]
    start: datetime | None
    end: datetime | None
    frames: tuple[int, int] | None


def tracks_in(images: ImageTable) -> tuple[Track, ...]:
    """Give the tracks of images, in the order of their first image; images without a track are in none."""
    numbers = tracks_of(images.records).tolist()
    rows: dict[int, list[int]] = {}
    for row, number in enumerate(numbers):
        if number >= 0:
            rows.setdefault(number, []).append(row)
    cameras = images.columns.get("camera", [None] * len(images))
    names = images.columns.get("track", [record.track for record in images.records])
    return tuple(
        _track(cameras[of_track[0]], str(names[of_track[0]]), of_track, images.records) for of_track in rows.values()
    )


def _track(camera: Any, name: str, rows: Sequence[int], records: Sequence[Record]) -> Track:
    times = [time for row in rows if (time := records[row].time) is not None]
    frames = [frame for row in rows if (frame := records[row].frame) is not None]
    return Track(
        camera=None if camera is None else str(camera),
        track=name,
        rows=tuple(rows),
        start=min(times) if len(times) == len(rows) else None,
        end=max(times) if len(times) == len(rows) else None,
        frames=(min(frames), max(frames)) if len(frames) == len(rows) else None,
    )


def seconds_of(moments: Sequence[datetime | None]) -> NDArray[np.float64]:
    """Give times in seconds since the first of a common year, NaN where unknown."""
    return np.array(
        [np.nan if moment is None else (moment - datetime(2000, 1, 1)).total_seconds() for moment in moments]
    )


def numbered_identities(groups: NDArray[np.int64], tracks: Sequence[Track]) -> NDArray[np.int64]:
    """Number identities from 1, ``[T]`` int64: by the time of their first track, or by its place."""
    places: dict[int, tuple[bool, float, int]] = {}
    starts = seconds_of([track.start for track in tracks])
    for row, group in enumerate(groups.tolist()):
        unknown = bool(np.isnan(starts[row]))
        key = (unknown, 0.0 if unknown else float(starts[row]), row)
        places[group] = min(places.get(group, key), key)
    order = {group: number for number, group in enumerate(sorted(places, key=lambda one: places[one]), start=1)}
    return np.array([order[group] for group in groups.tolist()], dtype=np.int64)


def read_boxes(named: Mapping[str, str | Path], tracks: Sequence[Track]) -> dict[str, TrackBoxes]:
    """Read the tracks files of cameras, of which all boxes are written with their identity.

    Args:
        named: Tracks file of each camera.
        tracks: The tracks that are linked.

    Raises:
        InputError: If a camera has no track, a file cannot be read, or has no track that is linked.
    """
    found = {}
    known = {camera: {track.track for track in tracks if track.camera == camera} for camera in named}
    for camera, file in named.items():
        if not known[camera]:
            cameras = sorted({str(track.camera) for track in tracks})
            raise InputError(
                f"boxes are given for the camera {camera!r}, of which there is no track; the cameras are "
                f"{', '.join(cameras[:8])}",
                code="no-such-camera",
            )
        boxes = read_tracks(Path(file), TrackFileOptions(), video=camera)
        if boxes.are_shares:
            raise InputError(
                f"{file} has boxes in shares of the picture, and text of MOTChallenge has pixels; give the tracker's "
                "text in pixels, or leave --boxes out",
                code="wrong-file-kind",
            )
        if not known[camera] & set(boxes.tracks):
            raise InputError(
                f"none of the tracks in {file} is a track of the camera {camera!r} that was linked; give the file from "
                "which its crops were cut",
                code="no-tracks",
            )
        found[camera] = boxes
    return found


def check_folder(folder: Path, *, overwrite: bool) -> None:
    """Check that the files can be written, before any work.

    Raises:
        InputError: If the folder has other files, or links and ``overwrite`` is not given.
    """
    check_way(folder)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file; give the name of a folder", code="not-a-folder")
    if not folder.is_dir() or not any(folder.iterdir()):
        return
    if not (folder / LINKED).is_file():
        raise InputError(f"{folder} has other files; give another folder (-o)", code="folder-not-empty")
    if not overwrite:
        raise InputError(
            f"{folder} has links already; give another folder (-o), or --overwrite to replace them",
            code="already-exists",
        )


def write_links(
    folder: Path,
    images: ImageTable,
    tracks: Sequence[Track],
    identities: NDArray[np.int64],
    similarities: NDArray[np.float64],
    boxes: Mapping[str, TrackBoxes],
) -> Counter[str]:
    """Write the three files aside; together they take the place of earlier ones.

    Args:
        folder: Folder of the files, which are replaced.
        images: The images.
        tracks: T tracks of the images.
        identities: ``[T]`` int64, from 1.
        similarities: ``[T]`` mean similarity of each track to the others of its identity; NaN where it is alone.
        boxes: All boxes of some cameras; of other cameras, the boxes of the images are written.

    Returns:
        For each camera in ``boxes``, the number of its boxes of tracks that were not linked: they have identities of
            their own.
    """
    images_header = ("path", "identity", "camera", "track", "frame", "time", "x", "y", "w", "h", "quality")
    kept = [name for name in images_header if name in ("path", "identity") or name in images.columns]
    rows = [(track, number, row) for track, number in zip(tracks, identities, strict=True) for row in track.rows]
    unlinked: Counter[str] = Counter()
    with folder_written_aside(folder, ours=(LINKED, TRACKS, MOT), mark=LINKED, unfinished="") as aside:
        listed = ([_cell(images, name, row, int(number)) for name in kept] for _, number, row in rows)
        write_table(aside / LINKED, kept, listed)
        write_table(aside / TRACKS, _TRACK_COLUMNS, _track_rows(tracks, identities, similarities))
        for camera, lines in _mot_lines(images, tracks, identities, boxes, unlinked).items():
            text = "".join(f"{line}\n" for _, line in sorted(lines))
            (aside / MOT).mkdir(exist_ok=True)
            (aside / MOT / f"{safe_name(camera)}.txt").write_text(text, encoding="ascii")
        for file in aside.rglob("*"):
            if file.is_file():
                flush(file)
    return unlinked


def _track_rows(
    tracks: Sequence[Track], identities: NDArray[np.int64], similarities: NDArray[np.float64]
) -> Iterator[Sequence[object]]:
    """Rows of the table of tracks."""
    for track, number, value in zip(tracks, identities, similarities, strict=True):
        yield [
            *(track.camera, track.track, int(number), len(track.rows)),
            *(track.frames or (None, None)),
            *(None if moment is None else moment.isoformat(sep=" ") for moment in (track.start, track.end)),
            None if np.isnan(value) else f"{value:.4f}",
        ]


def _cell(images: ImageTable, name: str, row: int, identity: int) -> Any:
    if name == "path":
        return images.records[row].path
    value = identity if name == "identity" else images.columns[name][row]
    return value.isoformat(sep=" ") if isinstance(value, datetime) else value


def _mot_lines(
    images: ImageTable,
    tracks: Sequence[Track],
    identities: NDArray[np.int64],
    boxes: Mapping[str, TrackBoxes],
    unlinked: Counter[str],
) -> dict[str, list[tuple[tuple[int, int], str]]]:
    """Lines of MOTChallenge of each camera, with (frame, identity) by which they are ordered."""
    lines: dict[str, list[tuple[tuple[int, int], str]]] = {}
    following = int(identities.max(initial=0))
    for camera, of_camera in boxes.items():
        known = {
            track.track: int(number) for track, number in zip(tracks, identities, strict=True) if track.camera == camera
        }
        for row, name in enumerate(of_camera.tracks):
            if name not in known:
                following += 1
                known[name] = following
                unlinked[camera] += of_camera.tracks.count(name)
            confidence = float(of_camera.confidences[row])
            line = _mot_line(int(of_camera.frames[row]), known[name], of_camera.boxes[row].tolist(), confidence)
            lines.setdefault(camera, []).append(line)
    for track, number in zip(tracks, identities, strict=True):
        camera = track.camera or "unknown"
        for row in () if camera in boxes else track.rows:
            record = images.records[row]
            if record.frame is not None and record.box is not None:
                lines.setdefault(camera, []).append(_mot_line(record.frame, int(number), record.box, np.nan))
    return lines


def _mot_line(frame: int, identity: int, box: Sequence[float], confidence: float) -> tuple[tuple[int, int], str]:
    sides = ",".join(f"{side:g}" for side in box)
    return (frame, identity), f"{frame},{identity},{sides},{1 if np.isnan(confidence) else confidence:g},-1,-1,-1"
