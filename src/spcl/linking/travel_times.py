"""Travel times between cameras: a table of the fewest and most seconds from one camera to another."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spcl.data.image_files import what_is_there
from spcl.data.text_tables import read_text_table
from spcl.errors import InputError
from spcl.linking.link_table import Track

COLUMNS = ("camera_a", "camera_b", "min_seconds", "max_seconds")


@dataclass(frozen=True)
class TravelTimes:
    """Seconds between the end of a track in one camera and the begin of the next track of the object in another.

    Attributes:
        file: The table.
        limits: Fewest and most seconds from one camera to another; a pair that is not listed has no limits.
    """

    file: Path
    limits: Mapping[tuple[str, str], tuple[float, float]]

    def matrices(self, cameras: Sequence[str | None]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Give the fewest and most seconds from each track to each other, ``[T, T]``; -inf and inf without a limit."""
        least = np.full((len(cameras),) * 2, -np.inf)
        most = np.full((len(cameras),) * 2, np.inf)
        rows = {camera: np.flatnonzero([one == camera for one in cameras]) for camera in set(cameras)}
        for (first, second), (low, high) in self.limits.items():
            if first in rows and second in rows:
                where = np.ix_(rows[first], rows[second])
                least[where], most[where] = low, high
        return least, most

    def unknown_cameras(self, cameras: Sequence[str | None]) -> list[str]:
        """Give the cameras of the table of which there is no track."""
        return sorted({name for pair in self.limits for name in pair} - set(cameras))


def read_travel_times(path: Path) -> TravelTimes:
    """Read a table ``camera_a,camera_b,min_seconds,max_seconds``.

    A row holds for both directions, unless the table has a row for the other direction. An empty cell is no limit.
    Below 0, ``min_seconds`` allows that both cameras see an object at one time.

    Raises:
        InputError: If the table cannot be read; the message has the line and the value.
    """
    if not path.is_file():
        raise InputError(f"there is no table {path}: {what_is_there(path)}", code="no-such-file")
    names, columns, lines, _ = read_text_table(path, {"path": COLUMNS[0]})
    known = dict(zip((name.strip().lower() for name in names), columns, strict=True))
    missing = [name for name in COLUMNS[:3] if name not in known]
    if missing:
        raise InputError(
            f"the table {path} has no column {missing[0]!r}; expected {', '.join(COLUMNS)}", code="no-such-column"
        )
    given: dict[tuple[str, str], tuple[float, float]] = {}
    for row, line in enumerate(lines):
        cells = {name: (known[name][row] or "").strip() if name in known else "" for name in COLUMNS}
        pair = cells["camera_a"], cells["camera_b"]
        place = f"line {line} of {path}"
        if not all(pair):
            raise InputError(f"{place} has no camera; expected {', '.join(COLUMNS)}", code="malformed-table")
        if pair in given:
            raise InputError(f"{place} gives the cameras {pair[0]} and {pair[1]} again", code="value-given-twice")
        low = _seconds(cells["min_seconds"], -math.inf, "min_seconds", place)
        high = _seconds(cells["max_seconds"], math.inf, "max_seconds", place)
        if low > high:
            raise InputError(
                f"{place} has min_seconds {low:g} above max_seconds {high:g}; exchange them",
                code="setting-out-of-range",
            )
        given[pair] = low, high
    if not given:
        raise InputError(f"the table {path} has no rows; expected {', '.join(COLUMNS)}", code="empty-table")
    return TravelTimes(path, {(second, first): limits for (first, second), limits in given.items()} | given)


def _seconds(cell: str, empty: float, column: str, place: str) -> float:
    if not cell:
        return empty
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InputError(f"{place} has {column} {cell!r}; expected a number of seconds", code="malformed-table")
    return value


def travel_notes(travel: TravelTimes | None, tracks: Sequence[Track]) -> tuple[str, ...]:
    """How much of the travel times can be used.

    Raises:
        InputError: If no track has a time, or the table has none of the cameras.
    """
    if travel is None:
        return ()
    cameras = {track.camera for track in tracks}
    listed = sum(first in cameras and second in cameras for first, second in travel.limits)
    if not listed:
        raise InputError(
            f"{travel.file} lists no pair of cameras of these tracks, which are {', '.join(sorted(map(str, cameras)))}",
            code="no-such-camera",
        )
    timed = sum(track.start is not None for track in tracks)
    if not timed:
        raise InputError(
            f"travel times are given ({travel.file}), and no track has times: cut the crops with --start, or add a "
            "column time",
            code="no-times",
        )
    notes = [
        f"travel times: {listed} of {len(travel.limits)} directions used; {timed} of {len(tracks)} tracks have times"
    ]
    if unknown := travel.unknown_cameras([track.camera for track in tracks]):
        notes.append(f"{travel.file} lists cameras without a track: {', '.join(unknown)}")
    return tuple(notes)


@dataclass(frozen=True)
class TravelLimits:
    """The limits between single tracks, whose times are known.

    Attributes:
        starts: ``[T]`` float64, seconds; NaN where unknown.
        ends: ``[T]`` float64, seconds; NaN where unknown.
        least: ``[T, T]`` float64, fewest seconds from one track to another.
        most: ``[T, T]`` float64, most seconds from one track to another.
    """

    starts: NDArray[np.float64]
    ends: NDArray[np.float64]
    least: NDArray[np.float64]
    most: NDArray[np.float64]

    def too_fast(self) -> NDArray[np.bool_]:
        """Give ``[T, T]``, symmetric: pairs of tracks between which an object would have been faster than it can be.

        It cannot be so by way of other cameras either, so that these are two objects.
        """
        gaps = self.starts[None, :] - self.ends[:, None]
        is_later = self.starts[None, :] >= self.starts[:, None]
        # A gap that is unknown (NaN) is not below a limit.
        found = is_later & (gaps < self.least)
        np.fill_diagonal(found, False)
        return found | found.T

    def fits(self, first: Sequence[int], second: Sequence[int]) -> bool:
        """Whether no track of two groups comes later after the one before it than the most seconds between the two."""
        tracks = sorted((*first, *second), key=lambda track: (self.starts[track], track))
        if np.isnan(self.starts[tracks]).any():
            return True
        gaps = self.starts[tracks[1:]] - self.ends[tracks[:-1]]
        return bool((gaps <= self.most[tracks[:-1], tracks[1:]]).all())
