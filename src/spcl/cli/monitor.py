"""``spcl monitor``: whether new images of a camera still look like those of the gallery."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import tyro

from spcl.cli.encoder_flags import CheckpointWord
from spcl.cli.options import EncodingOptions, parsed
from spcl.cli.querying import print_broken
from spcl.cli.text_table import aligned
from spcl.errors import require
from spcl.monitoring.monitor import MonitoringRequest, MonitoringResult, monitor
from spcl.reporting.console import ConsoleReporter, Reporter, SilentReporter

DRIFT_CODE = 3
"""Exit code of a run that found drift."""


@dataclass(frozen=True)
class Monitor(EncodingOptions):
    """Compare new images with a gallery by camera, and find cameras that have changed; for a daily job.

    Compared are the similarity to the nearest image, the rate of unknown, brightness, sharpness, colour and size. The
    exit code is 3 if a figure of a camera has shifted, 0 if none has, 2 if the input cannot be used.
    """

    usage: ClassVar[str] = "[CHECKPOINT] GALLERY NEW [options]"
    example: ClassVar[str] = "spcl monitor gallery today"

    other_words: ClassVar[tuple[str, ...]] = ("gallery", "new")

    checkpoint: CheckpointWord = ""
    """The encoder of the gallery. Without it: the encoder that the gallery names."""
    gallery: tyro.conf.Positional[str] = ""
    """A gallery of spcl embed --gallery."""
    new: tyro.conf.Positional[str] = ""
    """The new images: a folder with all below it, a table of paths or a registered data set."""
    reference: str = ""
    """Compare with these images, for example those of a month without faults, in place of the gallery's own."""
    level: float = 0.01
    """Probability that a run reports drift where there is none, over all cameras and figures together."""
    json: bool = False
    """Print the figures as JSON."""

    def check(self) -> None:
        """Check the shared options, then the level."""
        super().check()
        require(0 < self.level < 1, "--level", self.level, "a value above 0 and below 1, such as 0.01")

    def request(self) -> MonitoringRequest:
        """What is asked for."""
        return MonitoringRequest(
            self.gallery,
            self.new,
            reference=self.reference,
            level=self.level,
            source=self.source(),
            encoding=self.encoding(),
        )


def main(arguments: Sequence[str]) -> None:
    """Run ``spcl monitor`` with these words."""
    options = parsed(Monitor, arguments, "spcl monitor")
    report: Reporter = SilentReporter() if options.json else ConsoleReporter()
    result = monitor(options.request(), report=report)
    if options.json:
        print(json.dumps(result.to_dict()))
    else:
        print_monitoring(result, report)
    if result.has_drift:
        raise SystemExit(DRIFT_CODE)


def print_monitoring(result: MonitoringResult, report: Reporter) -> None:
    """Print each figure of each camera, what was not tested, and the answer."""
    print_broken(result.broken, report)
    rows = [["camera", "figure", "reference", "new", "statistic", "p-value", "images", ""]]
    for shift in result.shifts:
        rows.append(
            [
                shift.camera,
                shift.figure,
                f"{shift.reference:.3g}",
                f"{shift.new:.3g}",
                f"{shift.statistic:.3f}",
                f"{shift.p_value:.2g}",
                f"{shift.num_reference} and {shift.num_new}",
                "shifted" if shift.has_shifted else "",
            ]
        )
    for line in aligned(rows):
        report.say(line)
    for note in result.notes:
        report.say(f"note: {note}")
    cameras = dict.fromkeys(shift.camera for shift in result.shifts if shift.has_shifted)
    if cameras:
        report.warn(f"drift in {', '.join(cameras)} (p-values below {result.level:g}, adjusted for their number)")
    else:
        report.say(f"no drift: no p-value is below {result.level:g}")
