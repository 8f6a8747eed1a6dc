"""``spcl link``: one identity for the tracks of each object, over cameras and time."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import tyro

from spcl.cli.options import EncodingOptions, parsed
from spcl.cli.querying import print_broken
from spcl.data.image_sources import check_is_there
from spcl.data.table_checks import check_tables
from spcl.errors import InputError
from spcl.linking.link_tracks import LinkRequest, LinkResult, link_tracks
from spcl.reporting.console import ConsoleReporter, Reporter, SilentReporter


@dataclass(frozen=True)
class Link(EncodingOptions):
    """Give the tracks of one object one identity, over cameras and time.

    Tracks of one camera at one time are two objects; pairs.csv beside the images and travel times between cameras are
    used, where they are given. Writes linked.csv (the images with identities), tracks.csv (the tracks) and a text of
    MOTChallenge for each camera.
    """

    usage: ClassVar[str] = "TRACKS --out FOLDER [options]"
    example: ClassVar[str] = "spcl link crops/crops.csv -o links --travel travel.csv"

    tracks: tyro.conf.Positional[str]
    """A table of images with the columns track and camera, such as crops.csv of spcl crops."""
    out: Annotated[str, tyro.conf.arg(aliases=["-o"])]
    """Folder of the result."""
    travel: str = ""
    """A table camera_a,camera_b,min_seconds,max_seconds: travel times from the end of a track in one camera to the
    begin of the next one in another. An empty cell is no limit; a row holds for both directions."""
    pairs: str = ""
    """A table of pairs that are known to show one object or two. Without it: pairs.csv beside the images, if there is
    one."""
    boxes: tuple[str, ...] = ()
    """The tracker's file of each camera, CAMERA=FILE: all its boxes get identities in the text of MOTChallenge, not
    only those of the crops."""
    threshold: float | Literal["auto"] = "auto"
    """Least mean similarity of two groups of tracks that are joined; a larger value gives more and purer identities.
    auto: chosen from the tracks."""
    overwrite: bool = False
    """Replace earlier links in the folder."""
    json: bool = False
    """Print what was done as JSON."""

    def request(self) -> LinkRequest:
        """What is asked for."""
        return LinkRequest(
            self.tracks,
            self.out,
            travel=self.travel,
            pairs=self.pairs,
            boxes=_files_of_cameras(self.boxes),
            threshold=self.threshold,
            overwrite=self.overwrite,
            source=self.source(),
            encoding=self.encoding(),
        )


def _files_of_cameras(words: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for word in words:
        camera, equals, file = word.partition("=")
        if not (equals and camera and file):
            raise InputError(f"--boxes has {word!r}; expected CAMERA=FILE", code="setting-not-understood")
        if camera in found:
            raise InputError(f"--boxes gives the camera {camera!r} twice; give it once", code="value-given-twice")
        found[camera] = file
    return found


def main(arguments: Sequence[str]) -> None:
    """Run ``spcl link`` with these words."""
    options = parsed(Link, arguments, "spcl link")
    report: Reporter = SilentReporter() if options.json else ConsoleReporter()
    request = options.request()
    check_is_there(options.tracks, request.source)
    check_tables(options.tracks, options=request.source.table)
    linked = link_tracks(request, report=report)
    if options.json:
        print(json.dumps(linked.to_dict()))
    else:
        print_links(linked, report)


def print_links(linked: LinkResult, report: Reporter) -> None:
    """Print how many identities the tracks have, and the files."""
    print_broken(linked.broken, report)
    report.say(
        f"{len(linked.tracks)} tracks are {linked.num_identities} identities; {linked.num_across} of them were seen by "
        "several cameras"
    )
    for camera, count in linked.unlinked.items():
        report.warn(
            f"camera {camera}: {count} box(es) are of tracks without a crop; each of these has its own identity"
        )
    report.say(f"images: {linked.table}, tracks and text of MOTChallenge in {linked.folder}")
