"""Known pairs of tracks: the images of a track show one object, two tracks of one camera at one time show two.

Two tracks are simultaneous if the ranges of their frames overlap; where times are known as well, both ranges must
overlap, because frames of several videos may have equal numbers. Where only times are known, the ranges of times must
overlap by more than an instant: times in whole seconds do not show which of two images was first.

A tracker may find one object twice. Two simultaneous tracks whose boxes overlap by more than half in a frame are
therefore not known to be two objects.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from spcl.pairs.known_pairs import KnownPairs, PairOrigin
from spcl.records import Record

_SAME_BOX = 0.5
"""Intersection over union of two boxes of one frame above which they may be one object."""


@dataclass(frozen=True)
class _Track:
    """The images of a track, by frame or time, and its ranges; a range is None where a value is unknown."""

    name: str
    camera: int | None
    rows: list[int]
    frames: tuple[int, int] | None
    times: tuple[Any, Any] | None


def pairs_of_tracks(records: Sequence[Record]) -> KnownPairs:
    """Give the pairs that are known from tracks.

    Args:
        records: N images, some of them with a track.

    Returns:
        KnownPairs: must-links along each track, and one cannot-link for each pair of simultaneous tracks, with notes on
        what was used; empty where no image has a track.

    Cost: O(N log N), and one for each pair of simultaneous tracks.
    """
    tracks = _tracks(records)
    if not tracks:
        return KnownPairs()
    repeating = _cameras_with_repeated_frames(records, tracks)
    used = [track for track in tracks if track.camera not in repeating]
    must = [
        (one, other, PairOrigin("track", f"track {track.name}"))
        for track in used
        for one, other in pairwise(track.rows)
    ]
    simultaneous, twice = _simultaneous(records, [track for track in used if track.camera is not None])
    cannot = [
        (one.rows[0], other.rows[0], PairOrigin("simultaneous", f"tracks {one.name} and {other.name} at one time"))
        for one, other in simultaneous
    ]
    num_images = sum(len(track.rows) for track in used)
    notes = [
        f"tracks: {len(used)} of {len(tracks)} used, with {num_images} of {len(records)} images; {len(must)} "
        f"must-links; {len(cannot)} pairs of simultaneous tracks"
    ]
    return KnownPairs.of(must, cannot, [*notes, *_notes_of_unused(tracks, used, repeating, twice)])


def _notes_of_unused(
    tracks: Sequence[_Track], used: Sequence[_Track], repeating: set[int | None], twice: int
) -> list[str]:
    """Sentences on tracks and simultaneous sightings that are not used, with the reason and the next step."""
    notes = []
    if repeating:
        notes.append(
            f"{len(tracks) - len(used)} track(s) of {len(repeating)} camera(s) are not used: a track has two images in "
            "one frame there, so that track numbers begin again in each video; give each video another camera, or its "
            "tracks other numbers"
        )
    untimed = sum(track.frames is None and track.times is None for track in used)
    if untimed:
        notes.append(
            f"for {untimed} track(s) simultaneous tracks are not known: not each of their images has a frame or a time "
            "(columns frame, time)"
        )
    unplaced = sum(track.camera is None for track in used)
    if unplaced:
        notes.append(f"for {unplaced} track(s) simultaneous tracks are not known: they have no camera (column camera)")
    if twice:
        notes.append(
            f"{twice} pair(s) of simultaneous tracks are not used: their boxes overlap by more than half in a frame, "
            "so that the tracker may have found one object twice"
        )
    return notes


def _tracks(records: Sequence[Record]) -> list[_Track]:
    rows_of: dict[str, list[int]] = {}
    for row, record in enumerate(records):
        if record.track is not None:
            rows_of.setdefault(record.track, []).append(row)
    tracks = []
    for name, rows in rows_of.items():
        frames = [frame for row in rows if (frame := records[row].frame) is not None]
        times = [time for row in rows if (time := records[row].time) is not None]
        tracks.append(
            _Track(
                name,
                records[rows[0]].camera,
                rows,
                (min(frames), max(frames)) if len(frames) == len(rows) else None,
                (min(times), max(times)) if len(times) == len(rows) else None,
            )
        )
    return tracks


def _cameras_with_repeated_frames(records: Sequence[Record], tracks: Sequence[_Track]) -> set[int | None]:
    """The cameras in which a track has two images of one frame, and no time separates them."""
    found = set()
    for track in tracks:
        if track.frames is None:
            continue
        moments = {(records[row].frame, records[row].time) for row in track.rows}
        if len(moments) < len(track.rows):
            found.add(track.camera)
    return found


def _simultaneous(records: Sequence[Record], tracks: Sequence[_Track]) -> tuple[list[tuple[_Track, _Track]], int]:
    """Pairs of simultaneous tracks of one camera, and the number of pairs that may be one object found twice."""
    pairs: list[tuple[_Track, _Track]] = []
    twice = 0
    by_camera: dict[int | None, list[_Track]] = {}
    for track in tracks:
        by_camera.setdefault(track.camera, []).append(track)
    for group in by_camera.values():
        for frames in (True, False):
            # Tracks are compared in frames where both have these, otherwise in times.
            ranged = [(r, t) for t in group if (r := t.frames if frames else t.times) is not None]
            ranged.sort(key=lambda one: one[0])
            active: list[tuple[Any, _Track]] = []
            for spans, track in ranged:
                active = [(end, other) for end, other in active if end >= spans[0]]
                for _, other in active:
                    if not frames and track.frames is not None and other.frames is not None:
                        continue
                    if not _overlap_in_time(track, other, strict=not frames):
                        continue
                    if _may_be_one(records, track, other):
                        twice += 1
                    else:
                        pairs.append((other, track))
                active.append((spans[1], track))
    return sorted(pairs, key=lambda pair: (pair[0].rows[0], pair[1].rows[0])), twice


def _overlap_in_time(one: _Track, other: _Track, *, strict: bool) -> bool:
    """Whether the ranges of times overlap, by more than an instant if ``strict``; unknown times do not contradict."""
    if one.times is None or other.times is None:
        return not strict
    start, end = max(one.times[0], other.times[0]), min(one.times[1], other.times[1])
    return bool(start < end) if strict else bool(start <= end)


def _may_be_one(records: Sequence[Record], one: _Track, other: _Track) -> bool:
    """Whether two boxes of one frame, or of one time where frames are unknown, overlap by more than half."""

    def boxes(track: _Track) -> dict[Any, Any]:
        return {
            (records[row].frame, records[row].time): records[row].box
            for row in track.rows
            if records[row].box is not None
        }

    first, second = boxes(one), boxes(other)
    return any(_iou(first[moment], second[moment]) > _SAME_BOX for moment in first.keys() & second.keys())


def _iou(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    """Intersection over union of two boxes of left, top, width and height."""
    width = min(one[0] + one[2], other[0] + other[2]) - max(one[0], other[0])
    height = min(one[1] + one[3], other[1] + other[3]) - max(one[1], other[1])
    if width <= 0 or height <= 0:
        return 0.0
    common = width * height
    return common / (one[2] * one[3] + other[2] * other[3] - common)
