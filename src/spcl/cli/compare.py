"""``spcl compare``: do two images show one object?"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

import tyro

from spcl.cli.encoder_flags import CheckpointWord, EncoderOptions
from spcl.cli.options import checked_rate, parsed
from spcl.engine.journal import ConsoleReporter, Reporter, SilentReporter
from spcl.errors import InputError

if TYPE_CHECKING:
    from spcl.engine.compare import Comparison

_WORDS = {
    "same": "the same object",
    "different": "different objects",
    "unsure": "unsure: too similar for different objects, not similar enough for one",
}


@dataclass(frozen=True)
class Compare(EncoderOptions):
    """Compare two images: similarity and, after spcl calibrate, the probability that both show one object."""

    other_words: ClassVar[tuple[str, ...]] = (
        "first",
        "second",
    )

    checkpoint: CheckpointWord = ""
    """The encoder: model_best.pth.tar, say. Without one: the calibration's, else ImageNet weights."""
    first: tyro.conf.Positional[Annotated[str, tyro.conf.arg(metavar="FIRST", help_behavior_hint="")]] = ""
    """An image."""
    second: tyro.conf.Positional[Annotated[str, tyro.conf.arg(metavar="SECOND", help_behavior_hint="")]] = ""
    """Another image."""
    false_match_rate: float = 0.01
    """Share of pairs of different objects that may be called the same."""
    calibration: str = ""
    """A file that spcl calibrate -o wrote, in place of the calibration in the checkpoint."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:N or mps."""
    json: bool = False
    """Print the answer as JSON."""

    def check(self) -> None:
        """As for all; and the rate, and that there are two images."""
        super().check()
        checked_rate(self.false_match_rate)
        for given in (self.first, self.second):
            if Path(given).is_dir():
                raise InputError(f"{given} is a folder; give one image")


def main(arguments: Sequence[str]) -> None:
    """Run ``spcl compare`` with these words."""
    options = parsed(Compare, arguments, "spcl compare")
    images = [Path(options.first), Path(options.second)]

    from spcl.engine.calibrate import read_calibration, use_calibration
    from spcl.engine.compare import compare
    from spcl.engine.encoder_choice import chosen_encoder
    from spcl.records import Record
    from spcl.runtime import Runtime

    device = Runtime(options.device).device
    report = SilentReporter() if options.json else ConsoleReporter()
    file = Path(options.calibration) if options.calibration else None
    encoder = chosen_encoder(
        options.choice(),
        lambda: [Record(image) for image in images],
        remembered=None if file is None else read_calibration(file)[1],
        report=report,
    ).to(device)
    if file is not None:
        use_calibration(encoder, file)
    found = compare(encoder, images[0], images[1], false_match_rate=options.false_match_rate)
    if options.json:
        print(json.dumps(found.to_row()))
        return
    _print(found, options, report)


def _print(found: Comparison, options: Compare, report: Reporter) -> None:
    report.say(f"similarity   {found.similarity:.3f}")
    if found.verdict is not None and found.probability is not None and found.threshold is not None:
        report.say(f"probability  {found.probability:.3f} that both show one object, if that is as likely as not")
        report.say(f"verdict      {_WORDS[found.verdict]}")
        report.say(
            f"             (one object from {found.threshold:.3f} on: false-match rate {found.false_match_rate:g}, "
            f"calibrated {'with' if found.origin == 'labels' else 'without'} labels)"
        )
    if found.warning is not None:
        report.warn(found.warning)
    if found.verdict is None:
        report.say(
            f"What that means is not known for this encoder yet: spcl calibrate {_calibration_words(options)} finds it "
            "out, from images like these that it was not trained on."
        )


def _calibration_words(options: Compare) -> str:
    """What spcl calibrate needs for the same encoder."""
    return "CHECKPOINT IMAGES" if options.named_checkpoint else "IMAGES -o calibration.json"
