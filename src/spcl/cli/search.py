"""``spcl search``: the images of a gallery that are most similar to others."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from spcl.atomic_files import check_place
from spcl.cli.options import at_least, parsed
from spcl.cli.querying import QueryOptions, answered, print_broken, shown_query
from spcl.cli.text_table import aligned
from spcl.data.image_key import shown_path
from spcl.errors import InputError
from spcl.gallery.search_images import ImageSearchResult, SearchRequest, search_images
from spcl.reporting.console import Reporter

if TYPE_CHECKING:
    from spcl.gallery.result import Hit


@dataclass(frozen=True)
class Search(QueryOptions):
    """Find the images of a gallery that are most similar to a query; the file of the query is not listed.

    The gallery is a folder that spcl embed --gallery made, a features file (Parquet) of spcl embed, or a folder or
    table of images, which are embedded first.
    """

    example: ClassVar[str] = "spcl search gallery query.jpg --top 20 --save-picture ranked.png"

    top: int = 10
    """Number of images to find for each query."""
    camera_not: tuple[str, ...] = ()
    """Leave out the images of these cameras, named as in your table or in the file names (_c3 is 3)."""
    exact: bool = False
    """Compare every image, even if the gallery has an index (exact, but slower)."""
    rerank: bool = False
    """Re-rank the 100 most similar images of each query (4 x top, if that is more) by their k-reciprocal neighbours."""
    save_picture: str = ""
    """Draw the queries and the images that were found into this PNG file."""

    def check(self) -> None:
        """Check the shared options, then the number of images, and the place of the picture."""
        super().check()
        at_least("--top", self.top, 1)
        if self.save_picture and Path(self.save_picture).suffix != ".png":
            raise InputError(
                f"a picture is written as PNG: --save-picture {self.save_picture} must end in .png",
                code="wrong-file-kind",
            )
        if self.save_picture:
            check_place(Path(self.save_picture))

    def request(self) -> SearchRequest:
        """What is asked for."""
        return SearchRequest(
            self.gallery,
            self.query,
            top=self.top,
            camera_not=self.camera_not,
            where=self.where,
            exact=self.exact,
            rerank=self.rerank,
            by=self.by,
            source=self.source(),
            encoding=self.encoding(),
        )


def main(arguments: Sequence[str]) -> None:
    """Run ``spcl search`` with these words."""
    options = parsed(Search, arguments, "spcl search")
    request = options.request()

    def show(searched: ImageSearchResult, report: Reporter) -> None:
        print_search(searched, report, filtered=request.has_filter)
        if re.search(r"\bpath\b", options.where, re.IGNORECASE) and not any(searched.hits):
            report.say("paths of files are absolute in a gallery: write path like '%/gate/%'")

    searched, report = answered(options, lambda report: search_images(request, report=report), show)
    if options.save_picture:
        searched.save_picture(options.save_picture)
        report.say(f"picture: {options.save_picture}")


def print_search(searched: ImageSearchResult, report: Reporter, *, filtered: bool) -> None:
    """Print what was left out, what was found for each query, and how."""
    print_broken(searched.broken, report)
    tracks = searched.tracks or [None] * len(searched.queries)
    for query, track, hits in zip(searched.queries, tracks, searched.hits, strict=True):
        report.say(f"query {shown_query(query, track)}")
        for line in _table(hits, filtered=filtered, is_by_track=bool(searched.tracks)):
            report.say(f"  {line}")
    found = searched.found
    how = "every image compared" if found.engine == "exact" else f"by the index, recall {100 * found.recall:.1f} %"
    of_tracks = f"{searched.num_tracks} tracks of " if searched.tracks else ""
    report.say(f"searched in {of_tracks}{searched.num_images} images, {how}")


def _table(hits: Sequence[Hit], *, filtered: bool, is_by_track: bool) -> list[str]:
    if not hits:
        return ["no image passes the filter" if filtered else "no other image is in the gallery"]
    columns = {
        "": [str(place) for place in range(1, len(hits) + 1)],
        "similarity": [f"{hit.similarity:.3f}" for hit in hits],
        "distance": [_shown(hit.distance) for hit in hits],
        "camera": [_shown(hit.camera) for hit in hits],
        "identity": [_shown(hit.identity) for hit in hits],
        "time": [_shown(hit.time) for hit in hits],
        "track": [_shown(hit.columns.get("track")) if is_by_track else "-" for hit in hits],
        "images": [_shown(hit.columns.get("num_images")) if is_by_track else "-" for hit in hits],
        "path": [shown_path(hit.path) for hit in hits],
    }
    for name in ("distance", "time", "track", "images"):
        if all(cell == "-" for cell in columns[name]):
            del columns[name]
    return aligned([list(columns), *map(list, zip(*columns.values(), strict=True))])


def _shown(value: object) -> str:
    return "-" if value is None else f"{value:.3f}" if isinstance(value, float) else str(value)
