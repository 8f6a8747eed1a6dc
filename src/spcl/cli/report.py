"""``spcl report``: one HTML file about runs, groups, a gallery, or an encoder on images."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import tyro

from spcl.cli.options import FeatureOptions, checked_rate, parsed
from spcl.data.source_options import IdentityFrom
from spcl.errors import InputError
from spcl.inference.encode_options import EncodeOptions
from spcl.launched import is_main_process
from spcl.pages.write_report import ReportRequest, ReportResult, write_report
from spcl.reporting.console import ConsoleReporter, Reporter, SilentReporter


@dataclass(frozen=True)
class Report(FeatureOptions):
    """Make one HTML file that shows what was found, to look at or to send by mail. It loads nothing.

    SUBJECT is the folder of a training run (or several: their curves are laid over each other), a folder of spcl
    cluster, a gallery or a features file, or a checkpoint and images: spcl report CHECKPOINT DATA.
    """

    usage: ClassVar[str] = "SUBJECT ... [-o FILE] [options]"
    example: ClassVar[str] = "spcl report groups -o groups.html"

    subjects: tyro.conf.Positional[tuple[str, ...]] = ()
    """Runs, a folder of spcl cluster, a gallery, a features file, or a checkpoint and images."""
    output: Annotated[str, tyro.conf.arg(aliases=["-o"])] = "report.html"
    """The HTML file. A file that exists is replaced."""
    compare: bool = False
    """Compare two runs or checkpoints: which queries became better and which worse."""
    data: str = ""
    """With runs: images in place of the run's target. With --compare: the labelled images."""
    quick: bool = False
    """Encode no images: leave out similarities, the map and ranked results."""
    identity_from: IdentityFrom = "auto"
    """Where identities are read: table (a column), folder (the folder of an image), top-folder (the folder directly
    below the given one) or name (the number before _c in the file name): docs/data.md."""
    false_match_rate: float = 0.01
    """Share of pairs of different objects that may be taken for one: it gives the threshold."""
    json: bool = False
    """Print the result as JSON."""

    def check(self) -> None:
        """Check the shared options, then the request."""
        super().check()
        checked_rate(self.false_match_rate)
        if not self.subjects:
            raise InputError(
                "nothing is given to report on; expected for example spcl report groups -o groups.html",
                code="missing-argument",
            )
        self.request()

    def request(self) -> ReportRequest:
        """What is asked for."""
        return ReportRequest(
            self.subjects,
            self.output,
            compare=self.compare,
            data=self.data,
            quick=self.quick,
            false_match_rate=self.false_match_rate,
            source=self.source(),
            encoding=self.encoding(),
        )


def main(arguments: Sequence[str]) -> None:
    """Run ``spcl report`` with these words."""
    options = parsed(Report, arguments, "spcl report")
    report: Reporter = SilentReporter() if options.json else ConsoleReporter()
    result = write_report(options.request(), report=report)
    if options.json:
        print(json.dumps(result.to_dict()))
    else:
        print_report(result, report)


def print_report(result: ReportResult, report: Reporter) -> None:
    """Print the summary, and where the page is."""
    for sentence in result.summary:
        report.say(sentence)
    report.say(f"report: {result.path} ({result.size / 1e6:.1f} MB): {', '.join(result.sections).lower()}")


def check_report_place(place: str) -> None:
    """Check the value of ``--report`` of a command that writes a report at its end; empty: none is asked for.

    Raises:
        InputError: If it is no HTML file, or cannot be written.
    """
    if not place:
        return
    from spcl.atomic_files import check_place

    ReportRequest((".",), place)
    check_place(Path(place))


def print_report_of_run(folder: Path, place: str, report: Reporter, encoding: EncodeOptions) -> None:
    """Write the report of a run that has ended, in the main process, and print where it is.

    Args:
        folder: Folder of the run.
        place: HTML file to write; empty: none is asked for.
        report: Receives progress.
        encoding: How images are read.
    """
    if place and is_main_process():
        print_report(write_report(ReportRequest((folder,), place, encoding=encoding), report=report), report)
