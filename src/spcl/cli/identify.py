"""``spcl identify``: whose image is it, of the identities in a gallery, or unknown."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

import tyro

from spcl.cli.encoder_flags import CheckpointWord
from spcl.cli.options import AnswerOptions, checked_rate, embedded_queries, found_queries, parsed, say_notes
from spcl.data.checked_tables import check_tables
from spcl.data.one_image import kept_path, shown_path
from spcl.data.placeholders import note_of_a_dominant_identity
from spcl.data.source_options import IdentityFrom
from spcl.engine.journal import ConsoleReporter, Reporter, SilentReporter
from spcl.errors import InputError

if TYPE_CHECKING:
    from spcl.engine.embed import Encoder
    from spcl.retrieval.calibration import Threshold
    from spcl.retrieval.identification import Enrolled, Identification

_MOST_NAMED = 20


@dataclass(frozen=True)
class Identify(AnswerOptions):
    """Give images the name of an identity in a gallery, or "unknown" where none is similar enough.

    The gallery is one that spcl embed --gallery made of images with identities, or a table of images with a column
    identity. How similar is enough follows from the gallery itself; with fewer than twenty identities, from the
    calibration (spcl calibrate) in the checkpoint or in a file.
    """

    other_words: ClassVar[tuple[str, ...]] = (
        "gallery",
        "query",
    )

    checkpoint: CheckpointWord = ""
    """The encoder that the gallery was made with. Without one: what it remembers; for images, ImageNet weights."""
    gallery: tyro.conf.Positional[Annotated[str, tyro.conf.arg(metavar="GALLERY", help_behavior_hint="")]] = ""
    """A gallery, a features file of spcl embed, or a table of images (CSV, Parquet), with identities."""
    query: tyro.conf.Positional[Annotated[tuple[str, ...], tyro.conf.arg(metavar="QUERY", help_behavior_hint="")]] = ()
    """The images to name: one, several, or a folder."""
    identity_from: IdentityFrom = "auto"
    """Identities of a gallery of images: a table's column; the folder an image lies in; the number before _c."""
    false_match_rate: float = 0.01
    """Share of images of strangers that may be given somebody's name."""
    calibration: str = ""
    """A file that spcl calibrate -o wrote, in place of the calibration in the checkpoint."""
    where: str = ""
    """Only enrolled images that pass a filter: "camera != 3"."""
    json: bool = False
    """Print the answers as JSON."""

    def check(self) -> None:
        """As for all; and the rate."""
        super().check()
        checked_rate(self.false_match_rate)


def main(arguments: Sequence[str]) -> None:
    """Run ``spcl identify`` with these words."""
    options = parsed(Identify, arguments, "spcl identify")
    run_identification(options, SilentReporter() if options.json else ConsoleReporter())


def run_identification(options: Identify, report: Reporter) -> None:
    """Enrol, embed, name, print, write.

    Raises:
        InputError: If something cannot be used, or the similarity of strangers is not known; before images to be named
            are embedded.
    """
    wanted = found_queries(options.query, options.source(), purpose="named")

    check_tables(options.gallery, options=options.source().table)

    from spcl.data.image_sources import images_of
    from spcl.engine.calibrate import use_calibration
    from spcl.gallery.answer_tables import identification_table, write_answers
    from spcl.gallery.remembered import encoder_to_search
    from spcl.gallery.sources import searchable
    from spcl.runtime import Runtime

    runtime = Runtime(options.device, options.precision)
    encoder = encoder_to_search(
        options.choice(), options.gallery, lambda: images_of(options.gallery, options.source()).records, report
    )
    if options.calibration:
        use_calibration(encoder, Path(options.calibration))
    where = options.where or None
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
        source.check_identities()
        source.fill()
        enrolled = source.gallery.enrolled(where, report)
        images_of_each = dict(zip(enrolled.identities, enrolled.counts.tolist(), strict=True))
        more = [note for note in note_of_a_dominant_identity(images_of_each) if note not in notes]
        say_notes(report, more)
        notes += tuple(more)
        threshold = _threshold(enrolled, encoder, options, report)
        queries = embedded_queries(encoder, wanted.records, options, runtime=runtime, report=report)
        paths = [record.path for record in queries.records]
        answers = enrolled.identify(queries.features, options.false_match_rate)
        if options.output:
            names = [str(answer.nearest) for answer in answers]
            nearest = source.gallery.nearest_of(queries.features, names, where=where, without=paths)
    broken = queries.broken + source.broken
    if options.json:
        print(json.dumps(_to_json(answers, paths, enrolled, threshold, broken) | {"notes": list(notes)}))
    else:
        _print(answers, paths, enrolled, threshold, broken, report)
    # Last: the names are printed already if they cannot be written.
    if options.output:
        write_answers(Path(options.output), identification_table(answers, paths, nearest), excel=options.excel)
        report.say(f"table: {options.output}")


def _threshold(enrolled: Enrolled, encoder: Encoder, options: Identify, report: Reporter) -> Threshold:
    try:
        threshold = enrolled.threshold(options.false_match_rate)
    except ValueError as error:
        raise InputError(f"{error}{_why_no_calibration(encoder, options.flip)}") from error
    if enrolled.pairs is None and (unused := _why_no_calibration(encoder, options.flip)):
        report.warn(f"{unused.removeprefix('. ')}, and is not used")
    return threshold


def _why_no_calibration(encoder: Encoder, flip: bool) -> str:
    """A word on a calibration that is there and is not used."""
    from spcl.engine.calibrate import FACT, stored_calibration

    stored = stored_calibration(encoder)
    if stored is None and FACT in encoder.facts:
        return ". The checkpoint's calibration is of other weights or another domain"
    if stored is None or stored.flip == flip:
        return ""
    return f". The checkpoint's calibration is of features {'with' if stored.flip else 'without'} --flip"


def _to_json(
    answers: Sequence[Identification],
    paths: Sequence[Path],
    enrolled: Enrolled,
    threshold: Threshold,
    broken: Sequence[tuple[Path, str]],
) -> dict[str, object]:
    return {
        "num_identities": len(enrolled.identities),
        "basis": enrolled.basis(threshold.false_match_rate),
        "threshold": threshold.similarity,
        "false_match_rate": threshold.false_match_rate,
        "warning": threshold.warning,
        "queries": [
            {"query": str(kept_path(path)), **asdict(answer)} for path, answer in zip(paths, answers, strict=True)
        ],
        "broken": [{"path": str(path), "reason": reason} for path, reason in broken],
    }


def _print(
    answers: Sequence[Identification],
    paths: Sequence[Path],
    enrolled: Enrolled,
    threshold: Threshold,
    broken: Sequence[tuple[Path, str]],
    report: Reporter,
) -> None:
    for path, reason in broken[:_MOST_NAMED]:
        report.warn(f"{shown_path(path)} is left out: {reason}")
    if len(broken) > _MOST_NAMED:
        report.warn(f"and {len(broken) - _MOST_NAMED} more images are left out; --json lists them all")
    rows = [["identity", "similarity", "probability", "nearest", "runner-up", "image"]]
    for path, answer in zip(paths, answers, strict=True):
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
    from_gallery = enrolled.basis(threshold.false_match_rate) == "gallery"
    where = "the gallery's own images" if from_gallery else "the checkpoint's calibration"
    report.say(
        f"{len(enrolled.identities)} identities; named from a similarity of {threshold.similarity:.3f} on (false-match "
        f"rate {threshold.false_match_rate:g}, from {where})"
    )
    if threshold.warning is not None:
        report.warn(threshold.warning)
