"""``spcl identify``: whose image is it, of the identities in a gallery, or unknown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from spcl.cli.options import checked_rate, parsed
from spcl.cli.querying import QueryOptions, answered, print_broken, shown_query
from spcl.cli.text_table import aligned
from spcl.gallery.identify_images import IdentificationRequest, IdentificationResult, identify_images
from spcl.reporting.console import Reporter


@dataclass(frozen=True)
class Identify(QueryOptions):
    """Give each image the name of an identity in a gallery, or "unknown" if no identity is similar enough.

    The gallery is a folder that spcl embed --gallery made of images with identities, or a table with a column identity.
    The threshold is computed from the gallery; with fewer than twenty identities, from the calibration (spcl calibrate)
    in the checkpoint or in a file.
    """

    example: ClassVar[str] = "spcl identify gallery new/*.jpg -o names.csv"

    false_match_rate: float = 0.01
    """Share of images of strangers (identities not in the gallery) that may get a name, above 0 and below 1."""
    calibration: str = ""
    """A file of spcl calibrate -o, used instead of the calibration in the checkpoint."""

    def check(self) -> None:
        """Check the shared options, then the rate."""
        super().check()
        checked_rate(self.false_match_rate)

    def request(self) -> IdentificationRequest:
        """What is asked for."""
        return IdentificationRequest(
            self.gallery,
            self.query,
            false_match_rate=self.false_match_rate,
            calibration=self.calibration,
            where=self.where,
            by=self.by,
            find_nearest=bool(self.output),
            source=self.source(),
            encoding=self.encoding(),
        )


def main(arguments: Sequence[str]) -> None:
    """Run ``spcl identify`` with these words."""
    options = parsed(Identify, arguments, "spcl identify")
    request = options.request()
    answered(options, lambda report: identify_images(request, report=report), print_identification)


def print_identification(identified: IdentificationResult, report: Reporter) -> None:
    """Print what was left out, the name of each query, and from which similarity on names are given."""
    print_broken(identified.broken, report)
    rows = [["identity", "similarity", "probability", "nearest", "runner-up", "image"]]
    tracks = identified.tracks or [None] * len(identified.queries)
    for path, track, answer in zip(identified.queries, tracks, identified.answers, strict=True):
        second = "-"
        if answer.runner_up_similarity is not None:
            second = f"{answer.runner_up} ({answer.runner_up_similarity:.3f})"
        rows.append(
            [
                "unknown" if answer.identity is None else str(answer.identity),
                f"{answer.similarity:.3f}",
                "-" if answer.probability is None else f"{answer.probability:.3f}",
                str(answer.nearest),
                second,
                shown_query(path, track),
            ]
        )
    for line in aligned(rows):
        report.say(line)
    threshold = identified.threshold
    where = "the gallery's own images" if identified.basis == "gallery" else "the checkpoint's calibration"
    report.say(
        f"{identified.num_identities} identities; an image gets a name from similarity {threshold.similarity:.3f} on "
        f"(false-match rate {threshold.false_match_rate:g}, from {where})"
    )
    if threshold.warning is not None:
        report.warn(threshold.warning)
