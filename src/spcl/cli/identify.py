"""``spcl identify``: whose image is it, of the identities in a gallery, or unknown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from spcl.cli.grouping import Auto, check_grouping_settings
from spcl.cli.options import at_least, checked_rate, parsed
from spcl.cli.pair_flags import PairFlags
from spcl.cli.querying import QueryOptions, answered, print_broken, shown_query
from spcl.cli.text_table import aligned
from spcl.errors import InputError
from spcl.gallery.identify_images import IdentificationRequest, IdentificationResult, identify_images
from spcl.gallery.unknown_grouping import IdentifiedGroups, UnknownGrouping
from spcl.reporting.console import Reporter


@dataclass(frozen=True)
class Identify(QueryOptions, PairFlags):
    """Give each image the name of an identity in a gallery, or "unknown" if no identity is similar enough.

    The gallery is a folder that spcl embed --gallery made of images with identities, or a table with a column identity.
    The threshold is computed from the gallery; with fewer than twenty identities, from the calibration (spcl calibrate)
    in the checkpoint or in a file.

    With --groups, unknown images are grouped by themselves as new-1, new-2, ..., and all images are written as a folder
    of groups, for spcl correct, ask, review and report, and for spcl embed --groups.
    """

    example: ClassVar[str] = "spcl identify gallery new/*.jpg -o names.csv"

    false_match_rate: float = 0.01
    """Share of images of strangers (identities not in the gallery) that may get a name, above 0 and below 1."""
    calibration: str = ""
    """A file of spcl calibrate -o, used instead of the calibration in the checkpoint."""

    groups: str = ""
    """Group the unknown images, and write all images as groups into this folder: named images by their names, the
    others as new-1, new-2 and so on."""
    overwrite: bool = False
    """Replace what exists: the table of -o, and the groups of --groups, whose corrections stay."""
    eps: float | Auto = "auto"
    """With --groups: largest distance of two neighbours in a group of unknown images, 0 to 1. auto: chosen from these
    images."""
    k1: int | Auto = "auto"
    """With --groups: number of neighbours that are compared. auto: chosen from the unknown images."""
    min_samples: int = 4
    """With --groups: about the smallest number of images in a group of unknown images."""

    def check(self) -> None:
        """Check the shared options, then the rate and the settings of the groups."""
        super().check()
        checked_rate(self.false_match_rate)
        if not self.groups:
            plain = type(self)()
            names = ("eps", "k1", "min_samples", "pairs", "no_tracks")
            given = [name for name in names if getattr(self, name) != getattr(plain, name)]
            if given:
                flag = f"--{given[0].replace('_', '-')}"
                raise InputError(
                    f"{flag} is about groups of unknown images: add --groups FOLDER", code="option-does-not-apply"
                )
        at_least("--min-samples", self.min_samples, 2)
        check_grouping_settings(self.eps, {"--k1": self.k1})

    def grouping(self) -> UnknownGrouping | None:
        """How unknown images are grouped; None: they are not."""
        if not self.groups:
            return None
        return UnknownGrouping(
            self.groups,
            eps=self.eps,
            k1=self.k1,
            min_samples=self.min_samples,
            overwrite=self.overwrite,
            pairs=self.pair_options(),
        )

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
            groups=self.grouping(),
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
    if identified.groups is not None:
        print_groups(identified.groups, report)


def print_groups(groups: IdentifiedGroups, report: Reporter) -> None:
    """Print how many images are named, grouped and left single, the new groups, and what comes next."""
    report.say(
        f"{groups.num_named} images named ({len(groups.named)} identities), {groups.num_grouped} unknown images in "
        f"{len(groups.new)} new groups, {groups.num_single} left single"
    )
    if groups.num_changed:
        report.say(f"{groups.num_changed} images have another name in the groups than alone, because of known pairs")
    if groups.new:
        rows = [["new group", "images", "probability", "nearest identity", "similarity"]]
        for group in groups.new:
            probability = "-" if group.probability is None else f"{group.probability:.3f}"
            rows.append([group.name, str(group.num_images), probability, group.nearest, f"{group.similarity:.3f}"])
        for line in aligned(rows):
            report.say(line)
    report.say(f"groups: {groups.out}; look at groups.png, then correct them: spcl correct {groups.out}")
