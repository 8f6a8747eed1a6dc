"""``spcl compare``: do two images show one object?"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import tyro

from spcl.cli.encoder_flags import CheckpointWord, EncoderOptions
from spcl.cli.options import checked_rate, parsed
from spcl.data.image_files import what_is_there
from spcl.data.table_dataset import SUFFIXES
from spcl.errors import InputError
from spcl.inference.encode_options import By
from spcl.reporting.console import ConsoleReporter, Reporter, SilentReporter
from spcl.verification.compare_images import ComparisonRequest, compare_images

if TYPE_CHECKING:
    from spcl.verification.compare import Comparison

_WORDS = {
    "same": "the same object",
    "different": "different objects",
    "unsure": "unsure: too similar for different objects, not similar enough for one",
}


@dataclass(frozen=True)
class Compare(EncoderOptions):
    """Compare two images: similarity and, after spcl calibrate, the probability that both show one object."""

    usage: ClassVar[str] = "[CHECKPOINT] IMAGE IMAGE [options]"
    example: ClassVar[str] = "spcl compare model_best.pth.tar a.jpg b.jpg"

    other_words: ClassVar[tuple[str, ...]] = (
        "first",
        "second",
    )

    checkpoint: CheckpointWord = ""
    """The encoder, for example model_best.pth.tar. Without one: the encoder of --calibration, or ImageNet weights."""
    first: tyro.conf.Positional[str] = ""
    """The first image, or with --by track a folder or a table."""
    second: tyro.conf.Positional[str] = ""
    """The second image, or with --by track a folder or a table."""
    false_match_rate: float = 0.01
    """Share of pairs of different objects that may be called the same object, above 0 and below 1."""
    calibration: str = ""
    """A file of spcl calibrate -o, used instead of the calibration in the checkpoint."""
    by: By = "image"
    """What is compared: two images, or two tracks: each is a folder or a table with all its images."""
    device: str = "auto"
    """Device of the network: auto, cpu, cuda, cuda:N or mps."""
    json: bool = False
    """Print the answer as JSON."""

    def check(self) -> None:
        """Check the shared options, then the rate, and that there are two images."""
        super().check()
        checked_rate(self.false_match_rate)
        for given in map(Path, (self.first, self.second)):
            if self.by == "track" and given.exists():
                continue
            if given.is_dir():
                raise InputError(f"{given} is a folder; give one image, or --by track", code="not-an-image")
            if not given.exists():
                raise InputError(f"there is no image {given}: {what_is_there(given)}", code="no-such-file")
            if given.suffix.lower() in SUFFIXES:
                raise InputError(f"{given} is a table; give one image", code="not-an-image")

    def request(self) -> ComparisonRequest:
        """What is asked for."""
        return ComparisonRequest(
            self.first,
            self.second,
            false_match_rate=self.false_match_rate,
            calibration=self.calibration or None,
            encoder=self.choice(),
            device=self.device,
            by=self.by,
        )


def main(arguments: Sequence[str]) -> None:
    """Run ``spcl compare`` with these words."""
    options = parsed(Compare, arguments, "spcl compare")
    report: Reporter = SilentReporter() if options.json else ConsoleReporter()
    found = compare_images(options.request(), report=report)
    if options.json:
        print(json.dumps(found.to_dict()))
    else:
        print_comparison(found, report, has_checkpoint=bool(options.named_checkpoint))


def print_comparison(found: Comparison, report: Reporter, *, has_checkpoint: bool) -> None:
    """Print similarity, probability and verdict, or how to make the calibration that they need."""
    report.say(f"similarity   {found.similarity:.3f}")
    if found.verdict is not None and found.probability is not None and found.threshold is not None:
        report.say(f"probability  {found.probability:.3f} that both show one object, if half of all compared pairs do")
        report.say(f"verdict      {_WORDS[found.verdict]}")
        report.say(
            f"             (threshold {found.threshold:.3f}: false-match rate {found.false_match_rate:g}, "
            f"calibrated {'with' if found.origin == 'labels' else 'without'} labels)"
        )
    if found.warning is not None:
        report.warn(found.warning)
    if found.verdict is None:
        words = "CHECKPOINT IMAGES" if has_checkpoint else "IMAGES -o calibration.json"
        report.say(
            f"no verdict: this encoder is not calibrated. Run spcl calibrate {words}, with images like these that it "
            "was not trained on"
        )
