"""``spcl cluster``: from a folder of crops to groups of images that show one object each."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import tyro

from spcl.cli.grouping import Auto, GroupingOptions, check_grouping_settings
from spcl.cli.options import at_least, parsed
from spcl.cli.report import check_report_place, print_report
from spcl.errors import InputError
from spcl.grouping.group_images import GroupingRequest, GroupingResult, group_images
from spcl.reporting.console import ConsoleReporter, Reporter, SilentReporter

if TYPE_CHECKING:
    from spcl.grouping.groups import Groups


_WITH_FEATURES = ("images", "out", "eps", "k1", "k2", "min_samples", "overwrite", "json", "work_dir")
"""Settings that grouping features uses."""


@dataclass(frozen=True)
class Cluster(GroupingOptions):
    """Group the images of a folder by the object they show, without labels.

    Writes a table (path, group, confidence), a summary and a picture of the largest groups. Images in no group have the
    group -1. Nothing in the folder of images is changed.
    """

    usage: ClassVar[str] = "IMAGES --out FOLDER [options]"
    example: ClassVar[str] = "spcl cluster crops -o groups"

    images: tyro.conf.Positional[str]
    """A folder with all below it, a table of paths (CSV, Parquet) or a registered data set. With --work-dir: features,
    a .npy file or what spcl embed writes."""
    out: Annotated[str, tyro.conf.arg(aliases=["-o"])]
    """Folder of the results."""
    eps: float | Auto = "auto"
    """Largest distance of two neighbours in a group, 0 to 1; a smaller value gives more and purer groups. auto: chosen
    from the images."""
    k1: int | Auto = "auto"
    """Number of neighbours that are compared: about the number of images of an object. auto: chosen from the images."""
    k2: int | Auto = "auto"
    """Number of neighbours that are averaged. auto: 0.3 k1, at most 6."""
    min_size: int = 0
    """Leave out images whose shorter side has fewer pixels; 0: none."""
    folders: Literal["none", "link", "copy"] = "none"
    """Make a folder for each group, with links to the images or with copies."""
    overwrite: bool = False
    """Replace earlier groups in the folder."""
    work_dir: str = ""
    """Folder for intermediate files: groups features that are larger than memory, in parts on disk. A run that was
    stopped goes on there."""
    report: str = ""
    """Also write a report of all groups to this HTML file, as spcl report does."""
    json: bool = False
    """Print the summary as JSON."""

    def check(self) -> None:
        """As for both; and the settings that are given."""
        super().check()
        at_least("--min-size", self.min_size, 0)
        check_report_place(self.report)
        check_grouping_settings(self.eps, {"--k1": self.k1, "--k2": self.k2})
        if self.work_dir:
            self._check_only_features()

    def _check_only_features(self) -> None:
        """Raise an ``InputError`` for a flag that has no meaning for features alone."""
        for entry in fields(self):
            if entry.name not in _WITH_FEATURES and getattr(self, entry.name) != entry.default:
                flag = f"--{entry.name.replace('_', '-')}"
                raise InputError(
                    f"{flag} is not used with --work-dir, which groups features; leave {flag} out",
                    code="flag-without-use",
                )

    def request(self) -> GroupingRequest:
        """What is asked for."""
        return GroupingRequest(
            self.images,
            self.out,
            eps=self.eps,
            k1=self.k1,
            k2=self.k2,
            min_samples=self.min_samples,
            min_size=self.min_size,
            folders=self.folders,
            overwrite=self.overwrite,
            pairs=self.pair_options(),
            source=self.source(),
            encoding=self.encoding(),
        )


def main(arguments: Sequence[str]) -> None:
    """Run ``spcl cluster`` with these words."""
    options = parsed(Cluster, arguments, "spcl cluster")
    report: Reporter = SilentReporter() if options.json else ConsoleReporter()
    if options.work_dir:
        _group_features(options, report)
        return
    result = group_images(options.request(), report=report)
    if options.json:
        print(json.dumps(result.to_dict()))
    else:
        print_grouping(result, Path(options.out), report)
    # Last: the groups are written already if the report cannot be.
    if options.report:
        from spcl.pages.write_report import report_of_groups

        made = report_of_groups(result, options.request(), options.report, report=report)
        if not options.json:
            print_report(made, report)


def _group_features(options: Cluster, report: Reporter) -> None:
    """Group features in parts, with the settings of the paper where none are given."""
    from spcl.grouping.eps_choice import PAPER_EPS, k2_for
    from spcl.partitioned.group_features import group_features
    from spcl.partitioned.label_request import PartitionedLabelRequest

    eps, k1 = PAPER_EPS if options.eps == "auto" else options.eps, 30 if options.k1 == "auto" else options.k1
    k2 = k2_for(k1) if options.k2 == "auto" else options.k2
    report.say(f"settings: eps {eps:g}, k1 {k1}, k2 {k2}; with --work-dir, none is chosen from the features")
    request = PartitionedLabelRequest(
        options.images, options.work_dir, k1=k1, k2=k2, eps=eps, min_samples=options.min_samples
    )
    result = group_features(request, options.out, overwrite=options.overwrite, report=report)
    if options.json:
        print(json.dumps(result.to_dict()))
        return
    report.say(
        f"{result.num_groups} groups of {result.num_grouped} of {result.num_rows} rows; neighbours: "
        f"{result.found.engine}, {result.found.recall:.1%} of the true ones"
    )
    report.say(f"table: {result.table}")


def print_grouping(result: GroupingResult, out: Path, report: Reporter) -> None:
    """Print why these settings, what was found, and the files in the folder of the results."""
    from spcl.corrections.group_table import TABLE
    from spcl.grouping.groups_folder import BROKEN, FOLDERS, ODD, PICTURE, SUMMARY

    for reason in result.reasons:
        report.say(f"  {reason}")
    sizes = result.groups.sizes
    largest = f"; the largest has {sizes[0]}" if len(sizes) else ""
    report.say(
        f"{len(sizes)} groups of {int(sizes.sum())} images{largest}; "
        f"{result.groups.num_ungrouped} images are in no group"
    )
    report.say(_individuals(result.groups))
    if result.broken:
        report.warn(f"{len(result.broken)} image(s) could not be read and are left out: {out / BROKEN}")
    if result.left_out:
        report.say(f"{len(result.left_out)} file(s) are not used, each with its reason: {out / BROKEN}")
    copies, small = result.odd.copies, result.odd.small
    if copies or small:
        report.say(f"{len(copies)} copies and {len(small)} far smaller images: {out / ODD}")
    if left_out := result.not_copied:
        report.warn(
            f"{len(left_out)} image(s) are in no folder: they no longer exist, or the disk cannot hold their name; the "
            f"first: {left_out[0]}"
        )
    report.say(f"table: {out / TABLE}, summary: {out / SUMMARY}")
    report.say(f"picture: {out / PICTURE}")
    if result.not_copied is not None:
        report.say(f"a folder for each group: {out / FOLDERS}")


def _individuals(groups: Groups) -> str:
    """The estimated number of objects in a sentence, or why there is none."""
    from spcl.grouping.individuals import FEWEST_GROUPS, MOST_NODES

    if groups.individuals is not None:
        return groups.individuals.words()
    return (
        f"the number of individuals is not estimated: this needs at least {FEWEST_GROUPS} groups, and at most "
        f"{MOST_NODES:,} groups and images in no group"
    )
