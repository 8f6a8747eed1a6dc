"""Naming as a function: from images and a gallery with identities to the identity of each image, or "unknown".

What computes is imported by the functions: a wrong path or value is reported before torch is loaded.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spcl.data.image_key import kept_path
from spcl.data.placeholders import note_of_a_dominant_identity
from spcl.data.source_options import SourceOptions
from spcl.errors import InputError
from spcl.gallery.queries import Queries, embedded_queries, found_queries
from spcl.gallery.result import Hit
from spcl.inference.encode_options import EncodeOptions
from spcl.reporting.console import Reporter, WarningsKept, say_notes

if TYPE_CHECKING:
    import pyarrow as pa

    from spcl.inference.embedding import Encoder
    from spcl.verification.calibration import Threshold
    from spcl.verification.identification import Basis, Enrolled, Identification


@dataclass(frozen=True)
class IdentificationRequest:
    """Which images to name, by which gallery.

    Attributes:
        gallery: A gallery's folder, a features file (Parquet), or a table or a folder of images, with identities.
        queries: The images to name: a path, or several; an image, a folder, a table or a registered name.
        false_match_rate: Share of images of strangers that may be given the name of an identity: above 0, below 1.
        calibration: A file that ``spcl calibrate -o`` wrote, in place of the calibration in the checkpoint; empty:
            none.
        where: Only enrolled images that pass a filter: ``camera != 3``; empty: all.
        find_nearest: Find the image of each query's nearest identity that is most similar to it: one more pass over
            the gallery's vectors.
        source: Options of finding images and reading their columns.
        encoding: The encoder and its options; by default the gallery's encoder.
    """

    gallery: str | Path
    queries: Queries
    false_match_rate: float = 0.01
    calibration: str | Path = ""
    where: str = ""
    find_nearest: bool = True
    source: SourceOptions = field(default_factory=SourceOptions)
    encoding: EncodeOptions = field(default_factory=EncodeOptions)

    def __post_init__(self) -> None:
        """Raise an ``InputError`` for a false-match rate that is none."""
        if not 0 < self.false_match_rate < 1:
            raise InputError(
                f"the false-match rate is {self.false_match_rate:g}; expected above 0 and below 1, 0.01 say"
            )


@dataclass(frozen=True)
class IdentificationResult:
    """The name of each image.

    Attributes:
        queries: Paths of the ``Q`` queries that could be read, in their order, absolute.
        answers: One for each query; its ``identity`` is None where no identity is similar enough.
        nearest: For each query the image of its nearest identity that is most similar to it, None where there is no
            other; empty where it was not asked for.
        num_identities: Identities in the gallery.
        basis: Origin of the threshold: ``gallery`` (its images) or ``calibration``.
        threshold: The similarity from which on a name is given, its false-match rate, and a warning on them.
        broken: Path and reason of each image that could not be read, of the queries and of a gallery of images.
        notes: Remarks about the sources, in sentences.
        warnings: What a reader should look at besides ``threshold.warning``, in sentences.
    """

    queries: tuple[Path, ...]
    answers: tuple[Identification, ...]
    nearest: tuple[Hit | None, ...]
    num_identities: int
    basis: Basis
    threshold: Threshold
    broken: tuple[tuple[Path, str], ...] = ()
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON; ``warnings`` only where there are any."""
        plain: dict[str, Any] = {
            "num_identities": self.num_identities,
            "basis": self.basis,
            "threshold": self.threshold.similarity,
            "false_match_rate": self.threshold.false_match_rate,
            "warning": self.threshold.warning,
            "queries": [
                {"query": str(query), **asdict(answer)}
                for query, answer in zip(self.queries, self.answers, strict=True)
            ],
            "broken": [{"path": str(path), "reason": reason} for path, reason in self.broken],
            "notes": list(self.notes),
        }
        return plain | ({"warnings": list(self.warnings)} if self.warnings else {})

    def to_table(self) -> pa.Table:
        """One row for each query: see ``answer_tables.identification_table`` for the columns."""
        from spcl.gallery.answer_tables import identification_table

        return identification_table(self.answers, self.queries, self.nearest or [None] * len(self.queries))

    def write_table(self, path: str | Path, *, excel: bool = False) -> None:
        """Write ``to_table`` as CSV or Parquet, by the ending of the path.

        Args:
            path: Ends in ``.csv`` or ``.parquet``; a file that is there is replaced.
            excel: The CSV is for a spreadsheet.

        Raises:
            InputError: If it cannot be written.
        """
        from spcl.gallery.answer_tables import write_answers

        write_answers(Path(path), self.to_table(), excel=excel)


def identify_images(request: IdentificationRequest, *, report: Reporter | None = None) -> IdentificationResult:
    """Give images the name of an identity in a gallery, or none where no identity is similar enough.

    Args:
        request: The images and the gallery.
        report: Receives progress, notes and warnings; None: nothing is shown.

    Returns:
        IdentificationResult; similarities are cosines, -1 to 1.

    Raises:
        InputError: If something cannot be used, or the similarity of strangers is not known; before images to be named
            are embedded.

    Cost: one pass over the queries (and over a gallery of images), queries x identities similarities, and one pass over
    the gallery's vectors where they have changed.

    Example::

        named = spcl.identify_images(spcl.IdentificationRequest("my.gallery", "new_crops"))
        for query, answer in zip(named.queries, named.answers):
            print(query.name, answer.identity or "unknown", f"{answer.similarity:.3f}")
    """
    wanted = found_queries(request.queries, request.source, purpose="named")

    from spcl.data.image_sources import images_of
    from spcl.gallery.gallery_encoder import encoder_to_search
    from spcl.gallery.searchable import searchable
    from spcl.verification.calibrate import use_calibration

    kept = WarningsKept(report)
    options, encoding = request.source, request.encoding
    runtime = encoding.runtime()
    encoder = encoder_to_search(
        encoding.encoder, request.gallery, lambda: images_of(request.gallery, options).records, kept
    )
    if request.calibration:
        use_calibration(encoder, Path(request.calibration))
    where = request.where or None
    with searchable(
        request.gallery,
        encoder,
        where=where,
        options=options,
        flip=encoding.flip,
        runtime=runtime,
        report=kept,
        num_threads=encoding.workers,
    ) as source:
        notes = tuple(dict.fromkeys((*wanted.notes, *source.notes)))
        say_notes(kept, notes)
        source.check_identities()
        source.fill()
        enrolled = source.gallery.enrolled(where, kept)
        more = tuple(note for note in _notes_of_identities(enrolled) if note not in notes)
        say_notes(kept, more)
        threshold = _threshold(enrolled, encoder, request, kept)
        queries = embedded_queries(encoder, wanted.records, encoding, runtime=runtime, report=kept)
        paths = [record.path for record in queries.records]
        answers = enrolled.identify(queries.features, request.false_match_rate)
        nearest: list[Hit | None] = []
        if request.find_nearest:
            names = [str(answer.nearest) for answer in answers]
            nearest = source.gallery.nearest_of(queries.features, names, where=where, without=paths)
    return IdentificationResult(
        queries=tuple(Path(kept_path(path)) for path in paths),
        answers=tuple(answers),
        nearest=tuple(nearest),
        num_identities=len(enrolled.identities),
        basis=enrolled.basis(threshold.false_match_rate),
        threshold=threshold,
        broken=queries.broken + source.broken,
        notes=notes + more,
        warnings=tuple(kept.warnings),
    )


def _notes_of_identities(enrolled: Enrolled) -> tuple[str, ...]:
    """A note on an identity that has far more images than the others."""
    return tuple(note_of_a_dominant_identity(dict(zip(enrolled.identities, enrolled.counts.tolist(), strict=True))))


def _threshold(enrolled: Enrolled, encoder: Encoder, request: IdentificationRequest, report: Reporter) -> Threshold:
    flip = request.encoding.flip
    try:
        threshold = enrolled.threshold(request.false_match_rate)
    except ValueError as error:
        raise InputError(f"{error}{_why_no_calibration(encoder, flip)}") from error
    if enrolled.pairs is None and (unused := _why_no_calibration(encoder, flip)):
        report.warn(f"{unused.removeprefix('. ')}, and is not used")
    return threshold


def _why_no_calibration(encoder: Encoder, flip: bool) -> str:
    """A sentence on a calibration that is there and is not used; empty: there is none, or it is used."""
    from spcl.verification.calibrate import FACT, stored_calibration

    stored = stored_calibration(encoder)
    if stored is None and FACT in encoder.facts:
        return ". The checkpoint's calibration is of other weights or another domain"
    if stored is None or stored.flip == flip:
        return ""
    return f". The checkpoint's calibration is of features {'with' if stored.flip else 'without'} --flip"
