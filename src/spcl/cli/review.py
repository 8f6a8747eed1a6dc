"""``spcl review``: correct groups in a browser."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import tyro

from spcl.cli.options import EncodingOptions, parsed
from spcl.corrections.corrected_groups import read_groups
from spcl.reporting.console import ConsoleReporter, Reporter, SilentReporter
from spcl.review.review import ReviewRequest, review


@dataclass(frozen=True)
class Review(EncodingOptions):
    """Correct the groups of spcl cluster in a browser: look, merge, split, move, name, confirm, undo, answer questions.

    The page is for the browsers of this machine only. Each correction is a line in corrections.csv before the page
    shows it, as if spcl correct had made it. Ctrl-C ends the program. docs/correct.md has the keys.
    """

    usage: ClassVar[str] = "FOLDER [options]"
    example: ClassVar[str] = "spcl review groups"

    folder: tyro.conf.Positional[str]
    """The folder of spcl cluster."""
    who: str = ""
    """Who makes the corrections. Without it: the name of the user of the system."""
    port: int = 0
    """Port to listen at; 0: a free one, which is printed."""
    no_browser: bool = False
    """Print the address and do not open a browser."""
    json: bool = False
    """Print the address, and at the end the number of corrections, as JSON."""


def main(arguments: Sequence[str]) -> None:
    """Run ``spcl review`` with these words."""
    options = parsed(Review, arguments, "spcl review")
    report: Reporter = SilentReporter() if options.json else ConsoleReporter()
    request = ReviewRequest(
        options.folder,
        options.who,
        port=options.port,
        opens_browser=not options.no_browser,
        encoding=options.encoding(),
    )

    def print_address(address: str) -> None:
        if options.json:
            print(json.dumps({"address": address, "folder": options.folder}))
        report.say(f"{address} (Ctrl-C ends the program)")
        # A program that starts this one reads the address at once.
        sys.stdout.flush()

    review(request, report=report, on_started=print_address)
    counts = read_groups(options.folder).counts()
    if options.json:
        print(json.dumps({"corrections": counts}))
    report.say(f"{counts['used']} corrections in {options.folder}/corrections.csv")
