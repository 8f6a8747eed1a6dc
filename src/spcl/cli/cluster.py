"""``spcl cluster``: from a folder of crops to groups of images that show one object each."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from spcl.cli.grouping import Auto, GroupingOptions, searched_images, suggested
from spcl.cli.options import at_least, parsed, say_notes
from spcl.engine.journal import ConsoleReporter, Reporter, SilentReporter
from spcl.errors import InputError

if TYPE_CHECKING:
    from spcl.selfpaced.grouping import Groups


@dataclass(frozen=True)
class Cluster(GroupingOptions):
    """Group the images of a folder by the object they show, without labels.

    Writes a table (path, group, confidence), a summary and a picture of the largest groups. Images in no group have the
    group -1. Nothing in the folder of images is changed.
    """

    images: tyro.conf.Positional[str]
    """A folder with all below it, a table of paths (CSV, Parquet) or a registered data set."""
    out: Annotated[str, tyro.conf.arg(aliases=["-o"])]
    """Folder of the results."""
    eps: float | Auto = "auto"
    """Largest distance inside a group, from 0 to 1; smaller: more and purer groups. auto: suggested by the images."""
    k1: int | Auto = "auto"
    """Neighbours looked at, about the number of images of an object; auto: suggested by the images."""
    k2: int | Auto = "auto"
    """Neighbours averaged over; auto: goes with k1."""
    min_size: int = 0
    """Leave out images whose shorter side has fewer pixels; 0: none."""
    folders: Literal["none", "link", "copy"] = "none"
    """A folder for each group: of links to the images, or of copies."""
    overwrite: bool = False
    """Replace groups that are in the folder already."""
    json: bool = False
    """Print the summary as JSON."""

    def check(self) -> None:
        """As for both; and the settings that are given."""
        super().check()
        at_least("--min-size", self.min_size, 0)
        if self.eps != "auto" and not 0.02 <= self.eps < 0.98:
            raise InputError(f"--eps is {self.eps:g}; expected auto, or a distance from 0.02 to below 0.98")
        for flag, value in (("--k1", self.k1), ("--k2", self.k2)):
            if value != "auto":
                at_least(flag, value, 1)


def main(arguments: Sequence[str]) -> None:
    """Run ``spcl cluster`` with these words."""
    options = parsed(Cluster, arguments, "spcl cluster")
    run_cluster(options, SilentReporter() if options.json else ConsoleReporter())


def run_cluster(options: Cluster, report: Reporter) -> None:
    """Embed, group, write and tell.

    Raises:
        InputError: If something cannot be used, before any image is encoded.
    """
    from spcl.data.image_sources import images_of
    from spcl.data.odd_images import looked_over

    out = Path(options.out)
    # Earlier results are no crops, where the folder of the results lies among the images.
    images, odd = looked_over(images_of(options.images, options.source()).outside(out), min_size=options.min_size)
    notes = (*images.notes, *odd.notes)

    from spcl.report.groups import check_folder, write_groups
    from spcl.runtime import Runtime
    from spcl.selfpaced.grouping import cluster

    check_folder(out, overwrite=options.overwrite)
    runtime = Runtime(options.device, options.precision)
    say_notes(report, notes)
    searched = searched_images(
        options, images.records, k1=options.k1, memory_flags=("--k1",), runtime=runtime, report=report
    )
    found = suggested(searched, options, eps=options.eps, k1=options.k1, k2=options.k2, report=report)
    groups = cluster(
        searched.images.features,
        eps=found.eps,
        k1=found.k1,
        k2=found.k2,
        min_samples=options.min_samples,
        neighbours=searched.neighbours,
    )
    broken = searched.images.broken
    facts = {
        "broken": len(broken),
        "left_out": len(images.left_out),
        "copies": len(odd.copies),
        "thumbnails": len(odd.small),
        "checkpoint": options.named_checkpoint,
        "encoder": searched.encoder.fingerprint,
        "reasons": list(found.reasons),
        "notes": list(notes),
    }
    summary = write_groups(
        out,
        searched.images.records,
        groups,
        broken=(*broken, *images.left_out),
        odd=odd.rows(),
        facts=facts,
        folders=options.folders,
    )
    if options.json:
        print(json.dumps(summary))
        return
    _tell(out, groups, found.reasons, summary, options.folders, report)


def _tell(
    out: Path, groups: Groups, reasons: Sequence[str], summary: Mapping[str, Any], folders: str, report: Reporter
) -> None:
    from spcl.report.groups import BROKEN, FOLDERS, ODD, PICTURE, SUMMARY, TABLE

    for reason in reasons:
        report.say(f"  {reason}")
    sizes = groups.sizes
    largest = f"; the largest has {sizes[0]}" if len(sizes) else ""
    report.say(
        f"{len(sizes)} groups of {int(sizes.sum())} images{largest}; {groups.num_ungrouped} images are in no group"
    )
    if summary["broken"]:
        report.warn(f"{summary['broken']} image(s) could not be read and are left out: {out / BROKEN}")
    if summary["left_out"]:
        report.say(f"{summary['left_out']} file(s) are not used, each with its reason: {out / BROKEN}")
    if summary["copies"] or summary["thumbnails"]:
        report.say(f"{summary['copies']} copies and {summary['thumbnails']} far smaller images: {out / ODD}")
    if gone := summary.get("not_copied"):
        report.warn(f"{len(gone)} image(s) have gone since they were read and are in no folder; the first: {gone[0]}")
    report.say(f"table: {out / TABLE}, summary: {out / SUMMARY}")
    report.say(f"picture: {out / PICTURE}")
    if folders != "none":
        report.say(f"a folder for each group: {out / FOLDERS}")
