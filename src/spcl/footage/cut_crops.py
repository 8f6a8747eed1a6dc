"""``spcl.cut_crops``: from a video and the boxes of a tracker to a folder of crops with a table.

The video is read once and frame by frame; memory does not grow with its length.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from spcl.data.time_parsing import ACCEPTED, as_time
from spcl.data.track_columns import CROPS_TABLE
from spcl.errors import InputError, require
from spcl.footage.crop_choice import CropChoice
from spcl.footage.crops_folder import CropsFolder
from spcl.footage.cutting import Cutting
from spcl.footage.track_boxes import TrackBoxes, TrackFileOptions
from spcl.footage.track_files import read_tracks
from spcl.footage.video import opened_footage
from spcl.reporting.console import Reporter, WarningsKept, say_notes

OTHER_CAMERA = "of another camera"


@dataclass(frozen=True)
class CropsRequest:
    """Which crops to cut, and where they go.

    Attributes:
        video: A video file, or a folder of numbered frames (``000001.jpg``).
        tracks: Boxes of a tracker: text of MOTChallenge or BoxMOT, a folder of labels of ultralytics, or a table with
            named columns.
        output: Folder of the crops and of their table. It may have crops of other cameras: these are kept.
        camera: Name of the camera; empty: the name of the video without its ending.
        start: Time of the first frame, which gives every crop a time; None: crops have only ``seconds``.
        fps: Frames in a second, for a folder of frames; None: unknown.
        reading: How the tracks file is read.
        choice: Which boxes become crops.
        overwrite: Whether crops of this camera that are in the folder are replaced.

    Raises:
        InputError: If ``start`` is no time, or ``fps`` is not above 0.
    """

    video: str | Path
    tracks: str | Path
    output: str | Path
    camera: str = ""
    start: str | datetime | None = None
    fps: float | None = None
    reading: TrackFileOptions = field(default_factory=TrackFileOptions)
    choice: CropChoice = field(default_factory=CropChoice)
    overwrite: bool = False

    def __post_init__(self) -> None:
        """Check the values."""
        require(self.fps is None or self.fps > 0, "fps", self.fps, "above 0")
        _ = self.start_time

    @property
    def start_time(self) -> datetime | None:
        """Time of the first frame, parsed."""
        try:
            return as_time(self.start)
        except ValueError as error:
            raise InputError(
                f"the time of the first frame is {self.start!r}; expected {ACCEPTED.partition(', Unix')[0]}",
                code="not-a-time",
            ) from error

    @property
    def named_camera(self) -> str:
        """Name of the camera: as it was given, or the name of the video."""
        return self.camera or Path(self.video).resolve().stem


@dataclass(frozen=True)
class CropsResult:
    """The crops of one camera.

    Attributes:
        folder: The folder of the crops.
        table: The table of all crops in the folder.
        camera: Name of the camera.
        format: Format of the tracks file: ``MOTChallenge``, ``ultralytics`` or ``table``.
        num_crops: Number of crops that were written.
        num_tracks: Number of tracks with a crop.
        num_boxes: Number of rows of the tracks file.
        num_frames: Number of frames that were read.
        tracks_without_crop: Tracks of which no box could be used.
        left_out: Number of boxes that could not be used, by reason.
        notes: Remarks about the tracks file and the video, in sentences.
        warnings: Warnings, in sentences.
    """

    folder: Path
    table: Path
    camera: str
    format: str
    num_crops: int
    num_tracks: int
    num_boxes: int
    num_frames: int
    tracks_without_crop: tuple[str, ...] = ()
    left_out: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON; ``warnings`` only if there are any."""
        plain: dict[str, Any] = {
            "folder": str(self.folder),
            "table": str(self.table),
            "camera": self.camera,
            "format": self.format,
            "num_crops": self.num_crops,
            "num_tracks": self.num_tracks,
            "num_boxes": self.num_boxes,
            "num_frames": self.num_frames,
            "tracks_without_crop": list(self.tracks_without_crop),
            "left_out": dict(self.left_out),
            "notes": list(self.notes),
        }
        return plain | ({"warnings": list(self.warnings)} if self.warnings else {})


def cut_crops(request: CropsRequest, *, report: Reporter | None = None) -> CropsResult:
    """Cut the crops of a tracker's boxes from a video, and write a table of them.

    Args:
        request: The video, the tracks and the folder.
        report: Receives progress, notes and warnings; None: nothing is shown.

    Returns:
        CropsResult; its counts say which boxes were not used, and why.

    Raises:
        InputError: If the video, the tracks or the folder cannot be used, or no box becomes a crop. The folder is
            unchanged then.

    Cost: one pass over the video; of each track one crop is in memory.

    Example::

        cut = spcl.cut_crops(spcl.CropsRequest("gate.mp4", "gate.txt", "crops"))
        print(cut.num_crops, cut.left_out)
    """
    kept = WarningsKept(report)
    video, camera = Path(request.video), request.named_camera
    folder = CropsFolder(Path(request.output), camera, overwrite=request.overwrite)
    tracks, other_cameras = _of_camera(read_tracks(Path(request.tracks), request.reading, video=video.stem), request)
    say_notes(kept, tracks.notes)
    first = tracks.first_frame(request.reading.first_frame)
    with opened_footage(video, first_frame=first, fps=request.fps) as footage, folder.crops() as writer:
        cutting = Cutting(tracks, request.choice, request.start_time, writer)
        cutting.read(footage, kept)
        left_out = Counter(tracks.left_out) + Counter({OTHER_CAMERA: other_cameras}) + cutting.left_out()
        if not writer.rows:
            raise InputError(
                f"no box of {request.tracks} becomes a crop of {video} ({cutting.num_frames} frames): "
                f"{_counted(left_out)}; check that both are of one video, and --first-frame",
                code="no-crops",
            )
        writer.sort()
        notes = cutting.times.notes(video)
        say_notes(kept, notes)
    with_crop = {row["track"] for row in writer.rows}
    return CropsResult(
        folder=folder.path,
        table=folder.path / CROPS_TABLE,
        camera=camera,
        format=tracks.format,
        num_crops=len(writer.rows),
        num_tracks=len(with_crop),
        num_boxes=len(tracks) + sum(tracks.left_out.values()) + other_cameras,
        num_frames=cutting.num_frames,
        tracks_without_crop=tuple(track for track in dict.fromkeys(tracks.tracks) if track not in with_crop),
        left_out=dict(left_out),
        notes=(*tracks.notes, *notes),
        warnings=tuple(kept.warnings),
    )


def _counted(left_out: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in left_out.items())


def _of_camera(tracks: TrackBoxes, request: CropsRequest) -> tuple[TrackBoxes, int]:
    """The boxes of the camera, in the order of their frames, and the number of boxes of other cameras."""
    named = sorted({camera for camera in tracks.cameras if camera is not None})
    wanted = request.named_camera
    if len(named) > 1 and wanted not in named:
        raise InputError(
            f"{request.tracks} has the cameras {', '.join(named[:6])}, and none is {wanted!r}; name the camera of the "
            "video with --camera",
            code="no-such-camera",
        )
    of_camera = [len(named) < 2 or camera == wanted for camera in tracks.cameras]
    order = np.argsort(tracks.frames, kind="stable")
    rows = [row for row in order.tolist() if of_camera[row]]
    kept = TrackBoxes(
        frames=tracks.frames[rows],
        tracks=tuple(tracks.tracks[row] for row in rows),
        boxes=tracks.boxes[rows],
        confidences=tracks.confidences[rows],
        cameras=tuple(tracks.cameras[row] for row in rows),
        identities=tuple(tracks.identities[row] for row in rows),
        are_shares=tracks.are_shares,
        format=tracks.format,
        left_out=tracks.left_out,
        notes=tracks.notes,
    )
    return kept, len(tracks) - len(rows)
