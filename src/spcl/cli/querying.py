"""What ``spcl search`` and ``spcl identify`` have in common: a gallery, queries, and what happens with the answers."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Protocol, TypeVar

import tyro

from spcl.atomic_files import check_place
from spcl.cli.encoder_flags import CheckpointWord
from spcl.cli.options import FeatureOptions
from spcl.data.image_key import shown_path
from spcl.data.image_sources import check_is_there
from spcl.data.source_options import IdentityFrom
from spcl.data.table_checks import check_tables
from spcl.errors import InputError
from spcl.gallery.qdrant.address import is_qdrant
from spcl.inference.encode_options import By
from spcl.reporting.console import ConsoleReporter, Reporter, SilentReporter

if TYPE_CHECKING:
    from spcl.gallery.tracks import QueryTrack

_MOST_NAMED = 20


@dataclass(frozen=True, kw_only=True)
class QueryOptions(FeatureOptions):
    """A gallery, the images that are asked about, and a table for the answers."""

    other_words: ClassVar[tuple[str, ...]] = ("gallery", "query")
    usage: ClassVar[str] = "[CHECKPOINT] GALLERY QUERY ... [options]"

    checkpoint: CheckpointWord = ""
    """The encoder of the gallery. Without it: the encoder that the gallery names; for a folder of images, ImageNet
    weights."""
    gallery: tyro.conf.Positional[str] = ""
    """A gallery or a features file of spcl embed, or images: a folder with all below it, a table, a registered name."""
    query: tyro.conf.Positional[tuple[str, ...]] = ()
    """The images to search for or to name: one, several, or a folder."""
    identity_from: IdentityFrom = "auto"
    """Identities of a gallery of images: table (a column), folder (the folder of an image), top-folder (the folder
    directly below the given one) or name (the number before _c in the file name): docs/data.md."""
    by: By = "image"
    """What gets one answer: an image, or a track with all its images (column track)."""
    where: str = ""
    """Use only images of the gallery that pass this filter: "camera != 3", "time >= '2026-01-01 08:00'"."""
    json: bool = False
    """Print the result as JSON."""

    output: Annotated[str, tyro.conf.arg(aliases=["-o"])] = ""
    """Also write the result to a table, .csv or .parquet. Paths in it are absolute."""
    excel: bool = False
    """With -o FILE.csv: write it for a spreadsheet, with a byte-order mark and with ' before text like a formula."""
    overwrite: bool = False
    """With -o: replace a table that exists."""

    def check(self) -> None:
        """Check the shared options, then the place of the table."""
        super().check()
        if not self.output:
            if self.excel or (self.overwrite and not getattr(self, "groups", "")):
                flag = "--excel" if self.excel else "--overwrite"
                raise InputError(
                    f"{flag} is about a table of answers: add -o answers.csv", code="option-does-not-apply"
                )
            return
        path = Path(self.output)
        if path.suffix.lower() not in (".csv", ".parquet"):
            raise InputError(
                f"answers are written to a file that ends in .csv or .parquet, not to {path}", code="wrong-file-kind"
            )
        if self.excel and path.suffix.lower() != ".csv":
            raise InputError(
                f"--excel is for a CSV file, and {path} is none: leave it out, or write to a .csv",
                code="wrong-file-kind",
            )
        check_place(path)
        if path.exists() and not self.overwrite:
            raise InputError(
                f"{path} exists already; give another name, or --overwrite to replace it", code="already-exists"
            )


class Answers(Protocol):
    """Answers to queries, as plain values and as a table."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""

    def write_table(self, path: str | Path, *, excel: bool = False) -> None:
        """Write a table of the answers."""


Given = TypeVar("Given", bound=Answers)


def answered(
    options: QueryOptions, answer: Callable[[Reporter], Given], show: Callable[[Given, Reporter], None]
) -> tuple[Given, Reporter]:
    """The answers to the queries, printed and written as the options say.

    Args:
        options: Which gallery, and where the answers go.
        answer: Finds the answers.
        show: Prints them for people.

    Raises:
        InputError: If the gallery is not there or its table cannot be used, before what computes is loaded.
    """
    report: Reporter = SilentReporter() if options.json else ConsoleReporter()
    source = options.source()
    if not is_qdrant(options.gallery):
        check_is_there(options.gallery, source)
        check_tables(options.gallery, options=source.table)
    given = answer(report)
    if options.json:
        print(json.dumps(given.to_dict()))
    else:
        show(given, report)
    # Last: the answers are printed already if they cannot be written.
    if options.output:
        given.write_table(options.output, excel=options.excel)
        report.say(f"table: {options.output}")
    return given, report


def shown_query(path: Path, track: QueryTrack | None) -> str:
    """A query as it is shown: an image by its path, a track by its name and its number of images."""
    if track is None or track.track is None:
        return shown_path(path)
    return f"track {track.track} ({track.num_images} image(s)), {shown_path(path)}"


def print_broken(broken: Sequence[tuple[Path, str]], report: Reporter) -> None:
    """Warn of the images that could not be read: the first twenty with their reasons, and how many more there are."""
    for path, reason in broken[:_MOST_NAMED]:
        report.warn(f"{shown_path(path)} is left out: {reason}")
    if len(broken) > _MOST_NAMED:
        report.warn(f"and {len(broken) - _MOST_NAMED} more images are left out; --json lists them all")
