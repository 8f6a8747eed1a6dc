"""``spcl search``: the images of a gallery that are most similar to others."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

import tyro

from spcl.cli.encoder_flags import CheckpointWord
from spcl.cli.options import AnswerOptions, at_least, embedded_queries, found_queries, parsed, say_notes
from spcl.data.checked_tables import check_tables
from spcl.data.one_image import kept_path, shown_path
from spcl.data.source_options import IdentityFrom
from spcl.engine.journal import ConsoleReporter, Reporter, SilentReporter
from spcl.engine.whole_files import check_place
from spcl.errors import InputError

if TYPE_CHECKING:
    from spcl.engine.embed import EmbeddedImages, Encoder
    from spcl.gallery.gallery import Gallery
    from spcl.gallery.result import Hit, SearchResult

_MOST_IN_A_PICTURE = 12
_MOST_NAMED = 20


@dataclass(frozen=True)
class Search(AnswerOptions):
    """Find the images of a gallery that are most similar to others; the query's own file is not listed.

    The gallery is a folder that spcl embed --gallery made, a features file (Parquet) of spcl embed, or images of any
    kind, which are embedded first.
    """

    other_words: ClassVar[tuple[str, ...]] = (
        "gallery",
        "query",
    )

    checkpoint: CheckpointWord = ""
    """The encoder that the gallery was made with. Without one: what it remembers; for images, ImageNet weights."""
    gallery: tyro.conf.Positional[Annotated[str, tyro.conf.arg(metavar="GALLERY", help_behavior_hint="")]] = ""
    """A gallery, a features file, or images: a folder with all below it, a table of paths, a registered data set."""
    query: tyro.conf.Positional[Annotated[tuple[str, ...], tyro.conf.arg(metavar="QUERY", help_behavior_hint="")]] = ()
    """The images to search for: one, several, or a folder."""
    identity_from: IdentityFrom = "auto"
    """Identities of a gallery of images: a table's column; the folder an image lies in; the number before _c."""
    top: int = 10
    """Images to find for each query."""
    camera_not: tuple[str, ...] = ()
    """Leave out the images of these cameras, as their file names (_c3 is 3) or your table call them."""
    where: str = ""
    """Only images that pass a filter: "time >= '2026-01-01 08:00' and identity is not null"."""
    exact: bool = False
    """Compare every image, also where the gallery has an index."""
    rerank: bool = False
    """Order the 100 (or 4 x top) most similar images of each query by k-reciprocal re-ranking among themselves."""
    save_picture: str = ""
    """Draw the queries and what was found: ranked.png."""
    json: bool = False
    """Print what was found as JSON."""

    def check(self) -> None:
        """As for all; and the number of images, and the place of the picture."""
        super().check()
        at_least("--top", self.top, 1)
        if self.save_picture and Path(self.save_picture).suffix != ".png":
            raise InputError(f"a picture is written as PNG: --save-picture {self.save_picture} must end in .png")
        if self.save_picture:
            check_place(Path(self.save_picture))


def main(arguments: Sequence[str]) -> None:
    """Run ``spcl search`` with these words."""
    options = parsed(Search, arguments, "spcl search")
    run_search(options, SilentReporter() if options.json else ConsoleReporter())


def run_search(options: Search, report: Reporter) -> None:
    """Search, print, draw.

    Raises:
        InputError: If something cannot be used: gallery and filter before queries are embedded, these before a folder
            of images is.
    """
    wanted = found_queries(options.query, options.source(), purpose="searched for")

    check_tables(options.gallery, options=options.source().table)

    from spcl.data.image_sources import images_of
    from spcl.gallery.answer_tables import search_table, write_answers
    from spcl.gallery.filters import both, not_cameras
    from spcl.gallery.remembered import encoder_to_search
    from spcl.gallery.sources import searchable
    from spcl.runtime import Runtime

    runtime = Runtime(options.device, options.precision)
    encoder = encoder_to_search(
        options.choice(), options.gallery, lambda: images_of(options.gallery, options.source()).records, report
    )
    where = both(not_cameras(options.camera_not), options.where or None)
    with searchable(
        options.gallery,
        encoder,
        where=where,
        options=options.source(),
        flip=options.flip,
        runtime=runtime,
        report=report,
        num_threads=options.workers,
    ) as source:
        notes = tuple(dict.fromkeys((*wanted.notes, *source.notes)))
        say_notes(report, notes)
        queries = embedded_queries(encoder, wanted.records, options, runtime=runtime, report=report)
        source.fill()
        _warn_of_unknown_cameras(source.gallery, options.camera_not, report)
        result = source.gallery.search(
            queries.features,
            options.top,
            where=where,
            exact=True if options.exact else None,
            rerank=options.rerank,
            without=[record.path for record in queries.records],
            report=report,
        )
        num_images = len(source.gallery)
    broken = queries.broken + source.broken
    if options.json:
        warnings = {"warnings": report.warnings} if isinstance(report, SilentReporter) and report.warnings else {}
        print(json.dumps(_to_json(result, queries, num_images, broken) | {"notes": list(notes)} | warnings))
    else:
        _tell(result, queries, num_images, broken, report, filtered=where is not None)
        if re.search(r"\bpath\b", options.where, re.IGNORECASE) and not any(result):
            report.say("paths of files are absolute in a gallery: write path like '%/gate/%', say")
    # Last: what was found is printed already if it cannot be written or drawn.
    if options.output:
        table = search_table(result, [record.path for record in queries.records])
        write_answers(Path(options.output), table, excel=options.excel)
        report.say(f"table: {options.output}")
    if options.save_picture:
        _draw(Path(options.save_picture), encoder, queries, result, options)
        report.say(f"picture: {options.save_picture}")


def _warn_of_unknown_cameras(gallery: Gallery, cameras: Sequence[str], report: Reporter) -> None:
    unknown = gallery.unknown_cameras(cameras)
    if not unknown:
        return
    known = gallery.cameras()
    there = ", ".join(known[:_MOST_NAMED]) + (f" and {len(known) - _MOST_NAMED} more" if known[_MOST_NAMED:] else "")
    report.warn(
        f"--camera-not {' '.join(unknown)}: no image of the gallery is of such a camera, so nothing is left out by it; "
        + (f"its cameras are {there}" if known else "its images have no cameras")
    )


def _to_json(
    result: SearchResult, queries: EmbeddedImages, num_images: int, broken: Sequence[tuple[Path, str]]
) -> dict[str, object]:
    return {
        "engine": result.engine,
        "recall": result.recall,
        "num_images": num_images,
        "queries": [
            {"query": str(kept_path(record.path)), "hits": [hit.to_row() for hit in hits]}
            for record, hits in zip(queries.records, result, strict=True)
        ],
        "broken": [{"path": str(path), "reason": reason} for path, reason in broken],
    }


def _tell(
    result: SearchResult,
    queries: EmbeddedImages,
    num_images: int,
    broken: Sequence[tuple[Path, str]],
    report: Reporter,
    *,
    filtered: bool,
) -> None:
    for path, reason in broken[:_MOST_NAMED]:
        report.warn(f"{shown_path(path)} is left out: {reason}")
    if len(broken) > _MOST_NAMED:
        report.warn(f"and {len(broken) - _MOST_NAMED} more images are left out; --json lists them all")
    for record, hits in zip(queries.records, result, strict=True):
        report.say(f"query {shown_path(record.path)}")
        for line in _table(hits, filtered=filtered):
            report.say(f"  {line}")
    how = "every image compared" if result.engine == "exact" else f"by the index, recall {100 * result.recall:.1f} %"
    report.say(f"searched in {num_images} images, {how}")


def _table(hits: Sequence[Hit], *, filtered: bool) -> list[str]:
    if not hits:
        return ["no image passes the filter" if filtered else "no other image is in the gallery"]
    columns = {
        "": [str(place) for place in range(1, len(hits) + 1)],
        "similarity": [f"{hit.similarity:.3f}" for hit in hits],
        "distance": [_shown(hit.distance) for hit in hits],
        "camera": [_shown(hit.camera) for hit in hits],
        "identity": [_shown(hit.identity) for hit in hits],
        "time": [_shown(hit.time) for hit in hits],
        "path": [shown_path(hit.path) for hit in hits],
    }
    for name in ("distance", "time"):
        if all(cell == "-" for cell in columns[name]):
            del columns[name]
    widths = {name: max(len(name), *map(len, cells)) for name, cells in columns.items()}
    rows = [list(columns), *map(list, zip(*columns.values(), strict=True))]
    # The path comes last and is not padded.
    return [
        "  ".join([*(f"{c:>{w}}" for c, w in zip(row[:-1], widths.values(), strict=False)), row[-1]]) for row in rows
    ]


def _shown(value: object) -> str:
    return "-" if value is None else f"{value:.3f}" if isinstance(value, float) else str(value)


def _draw(path: Path, encoder: Encoder, queries: EmbeddedImages, result: SearchResult, options: Search) -> None:
    # Imported here: loading matplotlib takes longer than a search.
    from spcl.data.one_image import shown_path
    from spcl.report.ranked import Ranking, ShownImage, lines_under, picture_of, ranked_picture

    shown = slice(0, _MOST_IN_A_PICTURE)
    title = "most similar" + (", re-ranked" if options.rerank else "")
    found = [
        [
            ShownImage(
                picture_of(Path(hit.path), encoder.size),
                lines=lines_under(
                    shown_path(hit.path), similarity=hit.similarity, identity=hit.identity, camera=hit.camera
                ),
            )
            for hit in row[:_MOST_IN_A_PICTURE]
        ]
        for row in result.hits[shown]
    ]
    asked = [
        ShownImage(picture_of(record.path, encoder.size), lines=lines_under(shown_path(record.path)))
        for record in queries.records[shown]
    ]
    ranked_picture(path, asked, [Ranking(title, found)])
