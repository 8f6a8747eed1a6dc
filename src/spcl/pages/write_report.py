"""``spcl.write_report``: one HTML file about runs, groups, a gallery, or an encoder on images."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spcl.atomic_files import check_place, written_aside
from spcl.data.source_options import SourceOptions
from spcl.errors import InputError, require
from spcl.inference.encode_options import EncodeOptions
from spcl.reporting.console import Reporter
from spcl.reporting.quiet_reporters import LoggingReporter

if TYPE_CHECKING:
    from spcl.grouping.group_images import GroupingRequest, GroupingResult
    from spcl.inference.embedding import EmbeddedImages, Encoder


@dataclass(frozen=True)
class ReportRequest:
    """What a page is about, and where it is written.

    Attributes:
        subjects: One or several folders of training runs; a folder of ``spcl cluster``; a gallery or a features file;
            a checkpoint (or the folder of a run) and images; or images alone, which ImageNet weights encode.
        out: HTML file to write; a file that exists is replaced.
        compare: Compare two runs or checkpoints, query by query.
        data: Images to compare on, or to show in place of a run's target; empty: the target of the run.
        quick: Leave out everything for which images would be encoded.
        false_match_rate: Share of pairs of different objects that may be taken for one: it gives the threshold.
        source: How images are found.
        encoding: The encoder where it is not the subject's own, and how images are read.

    Raises:
        InputError: If nothing is given, or a value is out of range.
    """

    subjects: tuple[str | Path, ...]
    out: str | Path = "report.html"
    compare: bool = False
    data: str = ""
    quick: bool = False
    false_match_rate: float = 0.01
    source: SourceOptions = field(default_factory=SourceOptions)
    encoding: EncodeOptions = field(default_factory=EncodeOptions)

    def __post_init__(self) -> None:
        """Raise an ``InputError`` for a request that cannot be done."""
        require(0 < self.false_match_rate < 1, "false_match_rate", self.false_match_rate, "above 0 and below 1")
        if not self.subjects:
            raise InputError(
                "nothing is given to report on; expected a run, a folder of spcl cluster, a gallery, or a checkpoint "
                "and images",
                code="missing-argument",
            )
        if self.compare and len(self.subjects) != 2:
            raise InputError(
                f"--compare needs two runs or checkpoints, and {len(self.subjects)} are given", code="missing-argument"
            )
        if self.compare and self.quick:
            raise InputError(
                "--compare encodes images, and --quick leaves that out; give one of both", code="option-contradiction"
            )
        if Path(self.out).suffix.lower() not in (".html", ".htm"):
            raise InputError(f"a report is an HTML file: {self.out} must end in .html", code="wrong-file-kind")


@dataclass(frozen=True)
class ReportResult:
    """A written report.

    Attributes:
        path: The file.
        size: Its length in bytes.
        sections: Titles of its sections.
        summary: The result in three sentences.
        warnings: What is missing and why, in sentences.
        seconds: Duration of making the page, without encoding the images.
    """

    path: Path
    size: int
    sections: tuple[str, ...]
    summary: tuple[str, ...]
    warnings: tuple[str, ...]
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "path": str(self.path),
            "size": self.size,
            "sections": list(self.sections),
            "summary": list(self.summary),
            "warnings": list(self.warnings),
            "seconds": self.seconds,
        }


def write_report(
    request: ReportRequest,
    *,
    report: Reporter | None = None,
    known: tuple[EmbeddedImages, Encoder | None] | None = None,
) -> ReportResult:
    """Make one HTML file that contains everything that it shows.

    Args:
        request: What the page is about, and where it is written.
        report: Receives progress and notes; None: the log.
        known: Features of the images of a grouping and their encoder, which are then not computed again.

    Returns:
        ReportResult: the file, and what it contains.

    Raises:
        InputError: If there is no such subject, its files cannot be understood, or the page cannot be written.

    Example::

        made = spcl.write_report(spcl.ReportRequest(("groups",), out="groups.html"))
        print(made.path, made.size, *made.summary)

    Cost: encoding the images; beside it, for N images and G groups, reading the pictures that are shown, ``N^2 D`` for
    the map, and ``G^2 D`` for similar groups.
    """
    report = report or LoggingReporter()
    path = Path(request.out)
    check_place(path)

    from spcl.pages.build_report import build_report, read_subject
    from spcl.pages.page import render

    subject = read_subject(request, report, known)
    started = time.monotonic()
    built = build_report(subject, request, report)
    with report.progress("page"):
        html = render(built)
    data = html.encode("utf-8", "backslashreplace")
    with written_aside(path) as aside:
        aside.write_bytes(data)
    for warning in built.warnings:
        report.warn(warning)
    return ReportResult(
        path=path,
        size=len(data),
        sections=tuple(title for _, title in built.sections()),
        summary=built.summary,
        warnings=built.warnings,
        seconds=time.monotonic() - started,
    )


def report_of_groups(
    result: GroupingResult, request: GroupingRequest, out: str | Path, *, report: Reporter | None = None
) -> ReportResult:
    """Make the report of a grouping that has just been made and written, from the features that it has.

    Args:
        result: Result of ``group_images``, with a folder.
        request: Request of the grouping.
        out: HTML file to write.
        report: Receives progress; None: the log.

    Raises:
        InputError: If the grouping was not written to a folder, or the page cannot be written.
    """
    if result.out is None:
        raise InputError("a report of groups needs their folder; give out to group_images", code="missing-argument")
    from spcl.inference.embedding import EmbeddedImages

    asked = ReportRequest((result.out,), out, source=request.source, encoding=request.encoding)
    return write_report(asked, report=report, known=(EmbeddedImages(result.records, result.features), None))
