"""``spcl calibrate``: what the similarities of an encoder mean, stored in its checkpoint or in a file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import tyro

from spcl.atomic_files import check_place
from spcl.cli.encoder_flags import CheckpointWord
from spcl.cli.options import FeatureOptions, at_least, checked_rate, parsed
from spcl.cli.pair_flags import PairFlags
from spcl.data.source_options import IdentityFrom
from spcl.errors import InputError
from spcl.reporting.console import ConsoleReporter, Reporter, SilentReporter
from spcl.verification.calibrate_images import CalibrationRequest, CalibrationResult, calibrate_images


@dataclass(frozen=True)
class Calibrate(FeatureOptions, PairFlags):
    """Measure which similarity means "the same object" on images like yours; the checkpoint or a file keeps the result.

    spcl compare and spcl identify then give probabilities and verdicts. Use images that the encoder was not trained on:
    training images of one object are more similar than new ones. Identities are read only with --labels.
    """

    usage: ClassVar[str] = "[CHECKPOINT] IMAGES [options]"
    example: ClassVar[str] = "spcl calibrate model_best.pth.tar crops --labels"

    other_words: ClassVar[tuple[str, ...]] = ("images",)

    checkpoint: CheckpointWord = ""
    """The encoder; the calibration is added to its file. Without one: ImageNet weights; then -o is required."""
    images: tyro.conf.Positional[str] = ""
    """A folder with all below it, a table of paths (CSV, Parquet) or a registered data set."""
    labels: bool = False
    """Use the identities of the images: a folder per identity, a column identity, a data set's layout."""
    identity_from: IdentityFrom = "auto"
    """With --labels, where identities are read: table (a column), folder (the folder of an image), top-folder (the
    folder directly below the given one) or name (the number before _c in the file name): docs/data.md."""
    false_match_rate: float = 0.01
    """Share of pairs of different objects that may reach the printed threshold, above 0 and below 1."""
    output: Annotated[str, tyro.conf.arg(aliases=["-o"])] = ""
    """Also write the calibration to this JSON file."""
    seed: int = 0
    """Seed of the pairs that are drawn."""
    json: bool = False
    """Print the figures as JSON, as fractions of 1."""

    def check(self) -> None:
        """Check the shared options, then the rate, the seed, the place of the file."""
        super().check()
        if self.identity_from != "auto" and not self.labels:
            raise InputError(
                f"--identity-from {self.identity_from} is for labels; add --labels, or leave it out",
                code="option-does-not-apply",
            )
        at_least("--seed", self.seed, 0)
        checked_rate(self.false_match_rate)
        if self.output:
            check_place(Path(self.output))
        elif not self.named_checkpoint:
            raise InputError(
                "without a checkpoint the calibration is written to a file: give -o calibration.json. spcl compare and "
                "spcl identify read it with --calibration calibration.json",
                code="missing-argument",
            )

    def request(self) -> CalibrationRequest:
        """What is asked for."""
        return CalibrationRequest(
            self.images,
            labelled=self.labels,
            false_match_rate=self.false_match_rate,
            seed=self.seed,
            pairs=self.pair_options(),
            source=self.source(),
            encoding=self.encoding(),
        )


def main(arguments: Sequence[str]) -> None:
    """Run ``spcl calibrate`` with these words."""
    options = parsed(Calibrate, arguments, "spcl calibrate")
    report: Reporter = SilentReporter() if options.json else ConsoleReporter()
    request = options.request()
    request.check_places(options.output or None)
    result = calibrate_images(request, report=report)
    # Printed before it is written: what was found is not lost with the file.
    if options.json:
        print(json.dumps(result.to_dict()))
    else:
        print_calibration(result, report)
    report.say(f"stored in {' and '.join(result.store(options.output or None))}")


def print_calibration(result: CalibrationResult, report: Reporter) -> None:
    """Print the threshold, a table of rarer rates, and how far they hold on other objects."""
    from spcl.verification.rate_spread import factor_in_words, rounded_up
    from spcl.verification.thresholds import Limit

    figures, found = result.to_dict(), result.calibration
    calibration = found.calibration
    kind = "identities" if found.origin == "labels" else "reliable clusters, without labels"
    report.say(
        f"{found.num_images} images, {found.num_groups} {kind}: {figures['num_same_pairs']} pairs of one object, "
        f"{figures['num_different_pairs']} of two objects"
    )
    for note in found.notes:
        report.say(f"note: {note}")
    rate, threshold = result.false_match_rate, figures["threshold"]
    report.say(
        f"threshold {threshold:.3f}: {percent(rate)} of the pairs of different objects are expected to reach it, and "
        f"{percent(calibration.threshold(rate).true_match_rate)} of the pairs of one object"
    )
    report.say(
        f"same object: similarity {threshold:.3f} or more; different: below {figures['different_below']:.3f}; unsure: "
        "between"
    )
    report.say("false-match rate   threshold   pairs of one object above it   factor on other objects")
    warnings: dict[Limit, str] = {}
    for row in figures["thresholds"]:
        # One warning of each kind is enough: the column shows the others.
        mark = " *" if row["warning"] else ""
        rates = percent(row["false_match_rate"]), percent(row["true_match_rate"])
        limits = calibration.warnings(row["false_match_rate"])
        warnings = {code: f"{rates[0]}: {text}" for code, text in limits.items()} | warnings
        others = "-" if row["factor_on_others"] is None else factor_in_words(row["factor_on_others"])
        report.say(f"{rates[0]:>16}   {row['similarity']:>9.3f}   {rates[1]:<28}   {others}{mark}")
    least = figures["least_rate_kept"]
    report.say(
        "on other objects no false-match rate is within a factor of two: calibrate on more objects (docs/compare.md)"
        if least is None
        else f"on other objects false-match rates from {percent(rounded_up(least))} on are within a factor of two "
        "(docs/compare.md)"
    )
    for warning in warnings.values():
        report.say(f"  * {warning}")
    if found.origin == "no labels":
        report.say("calibrated without labels: wrong clusters make these rates wrong; --labels is more reliable")


def percent(share: float | None) -> str:
    """A share as people say it: ``68 %``, ``1 %``, ``0.01 %``."""
    return "-" if share is None else f"{100 * share:.3g} %"
