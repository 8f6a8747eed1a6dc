"""``spcl suggest``: settings that fit a folder of crops, and why."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import tyro

from spcl.atomic_files import check_place
from spcl.cli.grouping import GroupingOptions
from spcl.cli.options import parsed
from spcl.grouping.suggest_settings import SettingsRequest, SuggestedSettings, suggest_settings
from spcl.reporting.console import ConsoleReporter, Reporter, SilentReporter


@dataclass(frozen=True)
class Suggest(GroupingOptions):
    """Suggest eps, k1, k2 and a recipe that fit a folder of crops, and print the command that trains with them.

    No labels are read. The suggestion depends on the encoder: with another checkpoint, other settings can fit. spcl
    train --eps auto makes its own suggestion at the start of the training.
    """

    usage: ClassVar[str] = "IMAGES [options]"
    example: ClassVar[str] = "spcl suggest crops --picture curves.png"

    images: tyro.conf.Positional[str]
    """A folder with all below it, a table of paths (CSV, Parquet) or a registered data set."""
    picture: str = ""
    """Draw the curves from which the settings are chosen into this PNG file."""
    json: bool = False
    """Print the result as JSON, with the curve of the suggested k1."""

    def check(self) -> None:
        """As for both; and the place of the picture."""
        super().check()
        if self.picture:
            check_place(Path(self.picture))

    def request(self) -> SettingsRequest:
        """What is asked for."""
        return SettingsRequest(
            self.images,
            min_samples=self.min_samples,
            pairs=self.pair_options(),
            source=self.source(),
            encoding=self.encoding(),
        )


def main(arguments: Sequence[str]) -> None:
    """Run ``spcl suggest`` with these words."""
    options = parsed(Suggest, arguments, "spcl suggest")
    report: Reporter = SilentReporter() if options.json else ConsoleReporter()
    found = suggest_settings(options.request(), report=report)
    if options.json:
        print(json.dumps(found.to_dict()))
    else:
        print_settings(found, report)
    # Last: what was found is printed already if it cannot be drawn.
    if options.picture:
        is_drawn = found.save_picture(options.picture)
        report.say(f"picture: {options.picture}" if is_drawn else "no picture: nothing was tried")


def print_settings(found: SuggestedSettings, report: Reporter) -> None:
    """Print the settings, the reasons, and the command that trains with them."""
    settings, shape = found.suggestion, found.shape
    report.say(
        f"eps {settings.eps:g}, k1 {settings.k1}, k2 {settings.k2} (min-samples {settings.min_samples}), because"
    )
    for reason in settings.reasons:
        report.say(f"  {reason}")
    report.say(f"recipe {shape.recipe}, {shape.size[0]} x {shape.size[1]}: {shape.reason}")
    if found.broken:
        path, reason = found.broken[0]
        report.warn(f"{len(found.broken)} image(s) could not be read and do not count; the first, {path}: {reason}")
    if found.command:
        report.say(f"to train with it, by the paper's recipe:\n  {found.command}")
        report.say(
            f"to train with settings that are chosen in each epoch: --recipe {shape.recipe} in place of --recipe spcl, "
            "without --eps, --k1, --k2 and --min-samples"
        )
    if found.training_note:
        report.warn(found.training_note)
    report.say("without a GPU, use --recipe quick instead")
