"""``spcl identify``: whose image is it, of the identities in a gallery, or unknown."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import tyro

from spcl.cli.encoder_flags import CheckpointWord
from spcl.cli.options import AnswerOptions, checked_rate, parsed, print_broken
from spcl.data.image_key import shown_path
from spcl.data.image_sources import check_is_there
from spcl.data.source_options import IdentityFrom
from spcl.data.table_checks import check_tables
from spcl.gallery.identify_images import IdentificationRequest, IdentificationResult, identify_images
from spcl.reporting.console import ConsoleReporter, Reporter, SilentReporter


@dataclass(frozen=True)
class Identify(AnswerOptions):
    """Give images the name of an identity in a gallery, or "unknown" where none is similar enough.

    The gallery is one that spcl embed --gallery made of images with identities, or a table of images with a column
    identity. How similar is enough follows from the gallery itself; with fewer than twenty identities, from the
    calibration (spcl calibrate) in the checkpoint or in a file.
    """

    usage: ClassVar[str] = "[CHECKPOINT] GALLERY QUERY ... [options]"
    example: ClassVar[str] = "spcl identify gallery new/*.jpg -o names.csv"

    other_words: ClassVar[tuple[str, ...]] = (
        "gallery",
        "query",
    )

    checkpoint: CheckpointWord = ""
    """The encoder that the gallery was made with. Without one: the encoder that the gallery names; for images, ImageNet
    weights."""
    gallery: tyro.conf.Positional[str] = ""
    """A gallery, a features file of spcl embed, or a table of images (CSV, Parquet), with identities."""
    query: tyro.conf.Positional[tuple[str, ...]] = ()
    """The images to name: one, several, or a folder."""
    identity_from: IdentityFrom = "auto"
    """Identities of a gallery of images: a table's column, the folder of an image, or the number before _c."""
    false_match_rate: float = 0.01
    """Share of images of strangers (identities not enrolled) that may be given an identity."""
    calibration: str = ""
    """A file that spcl calibrate -o wrote. It replaces the calibration in the checkpoint."""
    where: str = ""
    """Use only enrolled images that pass this filter, for example "camera != 3"."""
    json: bool = False
    """Print the answers as JSON."""

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
            find_nearest=bool(self.output),
            source=self.source(),
            encoding=self.encoding(),
        )


def main(arguments: Sequence[str]) -> None:
    """Run ``spcl identify`` with these words."""
    options = parsed(Identify, arguments, "spcl identify")
    report: Reporter = SilentReporter() if options.json else ConsoleReporter()
    request = options.request()
    check_is_there(options.gallery, request.source)
    check_tables(options.gallery, options=request.source.table)
    identified = identify_images(request, report=report)
    if options.json:
        print(json.dumps(identified.to_dict()))
    else:
        print_identification(identified, report)
    # Last: the names are printed already if they cannot be written.
    if options.output:
        identified.write_table(options.output, excel=options.excel)
        report.say(f"table: {options.output}")


def print_identification(identified: IdentificationResult, report: Reporter) -> None:
    """Print what was left out, the name of each query, and from which similarity on names are given."""
    print_broken(identified.broken, report)
    rows = [["identity", "similarity", "probability", "nearest", "runner-up", "image"]]
    for path, answer in zip(identified.queries, identified.answers, strict=True):
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
                shown_path(path),
            ]
        )
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    for row in rows:
        report.say("  ".join([*(f"{cell:>{width}}" for cell, width in zip(row, widths, strict=False)), row[-1]]))
    threshold = identified.threshold
    where = "the gallery's own images" if identified.basis == "gallery" else "the checkpoint's calibration"
    report.say(
        f"{identified.num_identities} identities; named from a similarity of {threshold.similarity:.3f} on "
        f"(false-match rate {threshold.false_match_rate:g}, from {where})"
    )
    if threshold.warning is not None:
        report.warn(threshold.warning)
