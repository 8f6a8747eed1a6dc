"""``spcl crops``: from a video and the boxes of a tracker to crops with a table."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import tyro

from spcl.cli.computing import ComputingOptions
from spcl.cli.options import parsed
from spcl.footage.crop_choice import CropChoice
from spcl.footage.cut_crops import CropsRequest, CropsResult, cut_crops
from spcl.footage.track_boxes import TrackFileOptions
from spcl.reporting.console import ConsoleReporter, Reporter, SilentReporter


@dataclass(frozen=True)
class Crops(ComputingOptions):
    """Cut the crops of a tracker's boxes from a video, with a table of camera, track, frame, time and box.

    The table, crops.csv in the folder, is given to every other command as its images. Videos need an extra:
    pip install "spcl[video]".
    """

    usage: ClassVar[str] = "VIDEO TRACKS --out FOLDER [options]"
    example: ClassVar[str] = "spcl crops gate.mp4 gate.txt -o crops --start '2026-03-01 08:00'"

    video: tyro.conf.Positional[str]
    """A video file, or a folder of numbered frames (000001.jpg)."""
    tracks: tyro.conf.Positional[str]
    """Boxes of a tracker: text of MOTChallenge or BoxMOT, a folder of labels of ultralytics, or a table with the
    columns frame, track, left, top, width, height."""
    out: Annotated[str, tyro.conf.arg(aliases=["-o"])]
    """Folder of the crops and of their table; crops of other cameras in it are kept."""
    camera: str = ""
    """Name of the camera. Without it: the name of the video."""
    start: str = ""
    """Time of the first frame, 2026-03-01 08:00:00; without it the table has the seconds since the first frame only."""
    fps: float | None = None
    """Frames in a second, for a folder of frames."""
    first_frame: Literal["auto", "0", "1"] = "auto"
    """Number of the video's first frame in the tracks. auto: 0 if a row has the frame 0, else 1."""
    columns: str = ""
    """Names of the columns of a table, where they differ from ours: frame=image_id,track=object."""
    best: int = 8
    """Number of crops of a track: the sharpest of as many parts of equal length; 0: all boxes."""
    min_visible: float = 0.5
    """Smallest share of a box that lies inside the picture, above 0 and at most 1."""
    min_size: int = 2
    """Smallest shorter side of a crop in pixels."""
    min_confidence: float = 0.0
    """Smallest confidence of a box; boxes without a confidence are used."""
    overwrite: bool = False
    """Replace the crops of this camera in the folder."""
    json: bool = False
    """Print what was done as JSON."""

    def request(self) -> CropsRequest:
        """What is asked for."""
        return CropsRequest(
            self.video,
            self.tracks,
            self.out,
            camera=self.camera,
            start=self.start or None,
            fps=self.fps,
            reading=TrackFileOptions(self.columns, self.first_frame),
            choice=CropChoice(self.best, self.min_visible, self.min_size, self.min_confidence),
            overwrite=self.overwrite,
        )


def main(arguments: Sequence[str]) -> None:
    """Run ``spcl crops`` with these words."""
    options = parsed(Crops, arguments, "spcl crops")
    report: Reporter = SilentReporter() if options.json else ConsoleReporter()
    cut = cut_crops(options.request(), report=report)
    if options.json:
        print(json.dumps(cut.to_dict()))
    else:
        print_crops(cut, report)


def print_crops(cut: CropsResult, report: Reporter) -> None:
    """Print how many boxes became crops, which did not and why, and where the crops are."""
    report.say(
        f"camera {cut.camera}: {cut.num_crops} crops of {cut.num_tracks} tracks, from {cut.num_boxes} boxes "
        f"({cut.format}) in {cut.num_frames} frames"
    )
    for reason, count in cut.left_out.items():
        report.say(f"  {count} box(es) are not used: {reason}")
    if without := cut.tracks_without_crop:
        more = " ..." if without[10:] else ""
        report.warn(f"{len(without)} track(s) have no crop: {', '.join(without[:10])}{more}")
    report.say(f"table: {cut.table}")
