"""The boxes of a tracker: what a tracks file contains, in one form for all formats.

``track_files.py`` finds the format of a file and reads MOTChallenge's and ultralytics' text; ``track_tables.py`` reads
tables with named columns.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from spcl.data.table_options import TableOptions
from spcl.errors import InputError

FirstFrame = Literal["auto", "0", "1"]


@dataclass(frozen=True)
class TrackFileOptions:
    """How a tracks file is read.

    Attributes:
        columns: Names of the columns of a table in place of ours: ``frame=image_id,track=object``; empty: the same
            names.
        first_frame: Number of the first frame of the video in the file; ``auto``: 0 if a row has the frame 0, else 1.

    Raises:
        InputError: If ``columns`` cannot be understood, or ``first_frame`` has another value.
    """

    columns: str = ""
    first_frame: FirstFrame = "auto"

    def __post_init__(self) -> None:
        """Check both options, before a file is opened."""
        _ = self.table
        if self.first_frame not in ("auto", "0", "1"):
            raise InputError(f"first_frame is {self.first_frame!r}; expected auto, 0 or 1", code="setting-out-of-range")

    @property
    def table(self) -> TableOptions:
        """The names of columns, parsed."""
        return TableOptions(self.columns)


@dataclass(frozen=True)
class TrackBoxes:
    """Boxes of tracks, in the order of the file.

    Attributes:
        frames: ``[M]`` int64, number of the frame of each box, as in the file.
        tracks: ``M`` names of tracks, as in the file.
        boxes: ``[M, 4]`` float64: left, top, width and height; in pixels, or in shares of the picture.
        confidences: ``[M]`` float64; NaN where the file has none.
        cameras: ``M`` names of cameras; None where the file has none.
        identities: ``M`` names of identities; None where the file has none.
        are_shares: Whether boxes are in shares of the picture's width and height, 0 to 1.
        left_out: Number of rows that are not used, by reason.
        format: Name of the format that was read, for a report.
        notes: Remarks about the file, in sentences.
    """

    frames: NDArray[np.int64]
    tracks: tuple[str, ...]
    boxes: NDArray[np.float64]
    confidences: NDArray[np.float64]
    cameras: tuple[str | None, ...]
    identities: tuple[str | None, ...]
    are_shares: bool
    format: str
    left_out: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        """Number of boxes."""
        return len(self.tracks)

    def first_frame(self, wanted: FirstFrame) -> int:
        """The number of the first frame of the video: as it was asked for, or by whether a row has the frame 0."""
        if wanted != "auto":
            return int(wanted)
        return 0 if len(self.frames) and int(self.frames.min()) == 0 else 1

    def in_pixels(self, width: int, height: int) -> NDArray[np.float64]:
        """Give the boxes ``[M, 4]`` in pixels of a picture of this size."""
        return self.boxes * np.array([width, height, width, height]) if self.are_shares else self.boxes
