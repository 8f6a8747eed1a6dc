"""Cutting the crops of one video while its frames are read."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from spcl.errors import InputError
from spcl.footage.crop_choice import (
    BestOfParts,
    ChosenCrop,
    ClippedBoxes,
    CropChoice,
    clipped_boxes,
    covered_shares,
    parts_of_tracks,
    sharpness,
)
from spcl.footage.crops_folder import CropsWriter
from spcl.footage.frame_times import FrameTimes
from spcl.footage.track_boxes import TrackBoxes
from spcl.footage.video import Footage, Frame
from spcl.reporting.console import Reporter

BEYOND = "in a frame that the video does not have"
UNREADABLE = "in a frame that cannot be read"
REPEATED = "of a track that has another box in the frame"


class Cutting:
    """Cuts the crops of one video.

    Attributes:
        num_frames: Number of frames that were read.
        times: Times of these frames.
    """

    def __init__(self, tracks: TrackBoxes, choice: CropChoice, start: datetime | None, writer: CropsWriter) -> None:
        """Take what is cut.

        Args:
            tracks: The boxes, in the order of their frames.
            choice: Which of them become crops.
            start: Time of the first frame; None: unknown.
            writer: Receives the crops.
        """
        self._tracks, self._choice, self._start, self._writer = tracks, choice, start, writer
        self._best = BestOfParts()
        self._clipped: ClippedBoxes | None = None
        self._parts = np.full(len(tracks), -1, dtype=np.int64)
        # In this order: a box in a frame that does not exist has no other reason.
        self._reasons = np.full(len(tracks), BEYOND, dtype=object)
        self.num_frames = 0
        self.times = FrameTimes()

    def read(self, footage: Footage, report: Reporter) -> None:
        """Read the frames up to the last one with a box, and write the crops.

        Args:
            footage: The frames.
            report: Receives progress, and a warning if the video ends with a fault.
        """
        frames = self._tracks.frames
        last = int(frames[-1])
        total = min(footage.num_frames or last + 1, last + 1)
        number = -1
        with report.progress("cutting crops") as advance:
            for frame in footage:
                if frame.number > last:
                    break
                number = frame.number
                self.num_frames += 1
                self.times.add(frame.seconds)
                low, high = np.searchsorted(frames, [number, number + 1]).tolist()
                if low < high:
                    self._cut(frame, range(low, high))
                advance(self.num_frames, max(total, self.num_frames))
        for crop in self._best.rest():
            self._write(crop)
        if footage.problem:
            where = f"up to its frame {number} only" if self.num_frames else "not at all"
            report.warn(f"the video can be read {where}: {footage.problem}")

    def left_out(self) -> Counter[str]:
        """Give the number of boxes that could not be used, by reason."""
        return Counter(str(reason) for reason in self._reasons if reason)

    def _cut(self, frame: Frame, rows: range) -> None:
        where = slice(rows.start, rows.stop)
        try:
            pixels = frame.pixels()
        except InputError:
            self._reasons[where] = UNREADABLE
            return
        clipped = self._clipped or self._prepared((pixels.shape[1], pixels.shape[0]))
        self._reasons[where] = clipped.reasons[where]
        edges = clipped.edges[where]
        covered = covered_shares(edges)
        for row, (left, top, right, bottom), share in zip(rows, edges.tolist(), covered.tolist(), strict=True):
            if self._parts[row] < 0:
                continue
            # A copy: the part of the frame that is kept must not keep the whole frame in memory.
            crop = pixels[top:bottom, left:right].copy()
            quality = sharpness(crop) * float(clipped.visible[row]) * (1 - share)
            chosen = ChosenCrop(row, crop, quality, frame.number, frame.seconds)
            ended = self._best.take(self._tracks.tracks[row], int(self._parts[row]), chosen)
            if ended is not None:
                self._write(ended)

    def _prepared(self, size: tuple[int, int]) -> ClippedBoxes:
        """Cut the boxes to the picture, whose size is known from the first frame with a box."""
        tracks = self._tracks
        clipped = clipped_boxes(tracks.in_pixels(*size), tracks.confidences, size, self._choice)
        seen: set[tuple[str, int]] = set()
        reasons = clipped.reasons.astype(object)
        for row, key in enumerate(zip(tracks.tracks, tracks.frames.tolist(), strict=True)):
            if not reasons[row] and key in seen:
                reasons[row] = REPEATED
            elif not reasons[row]:
                seen.add(key)
        self._clipped = clipped._replace(reasons=reasons)
        self._parts = parts_of_tracks(tracks.tracks, reasons == "", self._choice.best)
        return self._clipped

    def _write(self, crop: ChosenCrop) -> None:
        if self._clipped is None:
            raise AssertionError("boxes are cut to the picture before the first crop")
        left, top, right, bottom = self._clipped.edges[crop.row].tolist()
        confidence = float(self._tracks.confidences[crop.row])
        known: dict[str, Any] = {
            "seconds": None if crop.seconds is None else round(crop.seconds, 6),
            "x": left,
            "y": top,
            "w": right - left,
            "h": bottom - top,
            "confidence": None if np.isnan(confidence) else round(confidence, 6),
            "quality": crop.quality,
            "identity": self._tracks.identities[crop.row],
        }
        if self._start is not None and crop.seconds is not None:
            moment = self._start + timedelta(seconds=crop.seconds)
            known["time"] = moment.isoformat(sep=" ", timespec="milliseconds")
        self._writer.write(crop.pixels, self._tracks.tracks[crop.row], crop.frame, known)
