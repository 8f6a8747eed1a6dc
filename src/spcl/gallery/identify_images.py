"""``spcl.identify_images``: from images and a gallery with identities to the identity of each image, or "unknown".

The functions import torch, so that a wrong path or value is reported before it is loaded.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spcl.data.image_key import kept_path
from spcl.data.placeholders import note_of_a_dominant_identity
from spcl.errors import InputError, require
from spcl.gallery.queries import OpenRequest, Queries, QueryRequest, opened_request
from spcl.gallery.result import Hit
from spcl.gallery.unknown_grouping import IdentifiedGroups, UnknownGrouping
from spcl.reporting.console import Reporter, say_notes
from spcl.short_repr import with_short_repr

if TYPE_CHECKING:
    import pyarrow as pa

    from spcl.gallery.planned_groups import PlannedGroups
    from spcl.gallery.tracks import QueryTrack
    from spcl.inference.embedding import Encoder
    from spcl.verification.identification import Basis, Enrolled, Identification
    from spcl.verification.thresholds import Threshold


@dataclass(frozen=True)
class IdentificationRequest(QueryRequest):
    """The images to identify, and the gallery with the identities.

    Attributes:
        gallery: A gallery's folder, a features file (Parquet), or a table or a folder of images, with identities.
        queries: The images to identify: a path, or several; an image, a folder, a table or a registered name.
        false_match_rate: Share of images of objects that are not enrolled that may be given an identity: above 0,
            below 1.
        calibration: A file of ``spcl calibrate -o`` that replaces the calibration in the checkpoint; empty: none.
        where: A filter of the enrolled images, for example ``camera != 3``; empty: all images.
        find_nearest: Whether to find, for each query, the most similar image of its nearest identity, in one more pass
            over the gallery's vectors.
        by: What gets a name: an ``image``, or a ``track``, all images of it together; the threshold is then that of the
            gallery's tracks.
        source: How images are found, and which columns are read.
        encoding: The encoder and its options; by default the gallery's encoder.
        groups: How the unknown images are grouped, and the folder to which all images are written as groups; None: they
            are not grouped.
    """

    false_match_rate: float = 0.01
    calibration: str | Path = ""
    where: str = ""
    find_nearest: bool = True
    groups: UnknownGrouping | None = None

    def __post_init__(self) -> None:
        """Raise an ``InputError`` for a false-match rate out of range."""
        rate = self.false_match_rate
        require(0 < rate < 1, "the false-match rate", rate, "a value above 0 and below 1, such as 0.01")


@with_short_repr
@dataclass(frozen=True)
class IdentificationResult:
    """The identity of each image.

    Attributes:
        queries: Paths of the ``Q`` queries that could be read, in their order, absolute.
        answers: An answer for each query; its ``identity`` is None if no identity is similar enough.
        nearest: For each query, the most similar image of its nearest identity, None if there is no other image;
            empty if not requested.
        num_identities: Number of identities in the gallery.
        basis: Origin of the threshold: ``gallery`` (its images) or ``calibration``.
        threshold: The least similarity at which an identity is given, its false-match rate, and a warning about them.
        tracks: The tracks that were named, one for each query; empty if images were named.
        broken: Path and reason of each image that could not be read, of the queries and of a gallery of images.
        notes: Remarks about the sources, in sentences.
        warnings: Warnings besides ``threshold.warning``, in sentences.
        groups: What was grouped and written; None: not requested.
    """

    queries: tuple[Path, ...]
    answers: tuple[Identification, ...]
    nearest: tuple[Hit | None, ...]
    num_identities: int
    basis: Basis
    threshold: Threshold
    tracks: tuple[QueryTrack, ...] = ()
    broken: tuple[tuple[Path, str], ...] = ()
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    groups: IdentifiedGroups | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON; ``groups`` and ``warnings`` only if there are any."""
        plain: dict[str, Any] = {
            "num_identities": self.num_identities,
            "basis": self.basis,
            "threshold": self.threshold.similarity,
            "false_match_rate": self.threshold.false_match_rate,
            "warning": self.threshold.warning,
            "queries": [
                {"query": str(query), **of_track, **asdict(answer)}
                for query, of_track, answer in zip(self.queries, self._of_tracks(), self.answers, strict=True)
            ],
            "broken": [{"path": str(path), "reason": reason} for path, reason in self.broken],
            "notes": list(self.notes),
        }
        if self.groups is not None:
            plain["groups"] = self.groups.to_dict()
        return plain | ({"warnings": list(self.warnings)} if self.warnings else {})

    def _of_tracks(self) -> list[dict[str, Any]]:
        if not self.tracks:
            return [{}] * len(self.queries)
        return [{"track": track.track, "num_images": track.num_images} for track in self.tracks]

    def to_table(self) -> pa.Table:
        """Make a table with one row for each query; its columns are those of ``answer_tables.identification_table``."""
        from spcl.gallery.answer_tables import identification_table

        nearest = self.nearest or [None] * len(self.queries)
        return identification_table(self.answers, self.queries, nearest, [track.track for track in self.tracks])

    def write_table(self, path: str | Path, *, excel: bool = False) -> None:
        """Write ``to_table`` as CSV or Parquet, by the ending of the path.

        Args:
            path: A path that ends in ``.csv`` or ``.parquet``; an existing file is replaced.
            excel: Whether the CSV is for a spreadsheet.

        Raises:
            InputError: If it cannot be written.
        """
        from spcl.gallery.answer_tables import write_answers

        write_answers(Path(path), self.to_table(), excel=excel)


def identify_images(request: IdentificationRequest, *, report: Reporter | None = None) -> IdentificationResult:
    """Identify images by the identities of a gallery; an image has none if no identity is similar enough.

    Args:
        request: The images, and the gallery with the identities.
        report: Receives progress, notes and warnings; None: nothing is shown.

    Returns:
        IdentificationResult; similarities are cosines, -1 to 1.

    Raises:
        InputError: If something cannot be used, or the gallery has too few identities for a threshold and there is no
            calibration; before the queries are embedded.

    Cost: one pass over the queries (and over a gallery of images), queries x identities similarities, and one pass over
    the gallery's vectors where they have changed.

    Example::

        named = spcl.identify_images(spcl.IdentificationRequest("my.gallery", "new_crops"))
        for query, answer in zip(named.queries, named.answers):
            print(query.name, answer.identity or "unknown", f"{answer.similarity:.3f}")
    """
    where = request.where or None
    planned = None if request.groups is None else _planned(request.groups, request.queries)
    with opened_request(request, purpose="named", where=where, report=report) as asked:
        if request.calibration:
            # Imported after the queries are checked: a mistake in a table is reported before torch is imported.
            from spcl.verification.stored_calibration import use_calibration

            use_calibration(asked.encoder, Path(request.calibration))
        asked.source.check_identities()
        asked.source.fill()
        gallery = asked.source.gallery
        is_by_track = request.by == "track"
        enrolled = _enrolled_tracks(asked, where) if is_by_track else gallery.enrolled(where, asked.report)
        more = tuple(note for note in _notes_of_identities(enrolled) if note not in asked.notes)
        say_notes(asked.report, more)
        threshold = _threshold(enrolled, asked.encoder, request, asked.report)
        queries = asked.embed_queries()
        paths, features = [record.path for record in queries.records], queries.features
        tracks: tuple[QueryTrack, ...] = ()
        if is_by_track:
            from spcl.gallery.tracks import query_tracks

            tracks, features = query_tracks(queries, asked.quality)
            paths = [track.path for track in tracks]
        answers = enrolled.identify(features, request.false_match_rate)
        nearest: list[Hit | None] = []
        if request.find_nearest:
            names = [str(answer.nearest) for answer in answers]
            nearest = gallery.nearest_of(features, names, where=where, without=paths)
        groups = None
        if planned is not None:
            from spcl.gallery.identified_groups import grouped_answers

            groups = grouped_answers(planned, request, asked, (queries, answers, tracks), enrolled)
        return IdentificationResult(
            queries=tuple(Path(kept_path(path)) for path in paths),
            answers=tuple(answers),
            nearest=tuple(nearest),
            num_identities=len(enrolled.identities),
            basis=enrolled.basis(threshold.false_match_rate),
            threshold=threshold,
            tracks=tracks,
            broken=queries.broken + asked.source.broken,
            notes=asked.notes + more,
            warnings=tuple(asked.report.warnings),
            groups=groups,
        )


def _planned(asked: UnknownGrouping, queries: Queries) -> PlannedGroups:
    """Check the folder of the groups before any work."""
    from spcl.gallery.planned_groups import PlannedGroups

    return PlannedGroups.of(asked, (queries,) if isinstance(queries, str | Path) else queries)


def _enrolled_tracks(asked: OpenRequest, where: str | None) -> Enrolled:
    """Enrol the tracks of the gallery; images are enrolled one by one if it has none, with a warning."""
    from spcl.gallery.enrolment import with_calibration
    from spcl.gallery.tracks import GalleryTracks

    gallery = asked.source.gallery
    tracks = GalleryTracks.of(gallery, where, required=False)
    if all(name is None for name in tracks.names):
        asked.report.warn(
            "the gallery has no tracks, so that the threshold is that of single images: the share of strangers' tracks "
            "that get a name is not known"
        )
    return with_calibration(tracks.enrolled(), asked.encoder, gallery.flip)


def _notes_of_identities(enrolled: Enrolled) -> tuple[str, ...]:
    """Note an identity that has far more images than the others."""
    return tuple(note_of_a_dominant_identity(dict(zip(enrolled.identities, enrolled.counts.tolist(), strict=True))))


def _threshold(enrolled: Enrolled, encoder: Encoder, request: IdentificationRequest, report: Reporter) -> Threshold:
    flip = request.encoding.flip
    try:
        threshold = enrolled.threshold(request.false_match_rate)
    except ValueError as error:
        raise InputError(f"{error}{_why_no_calibration(encoder, flip)}", code="not-calibrated") from error
    if enrolled.pairs is None and (unused := _why_no_calibration(encoder, flip)):
        report.warn(f"{unused.removeprefix('. ')}, and is not used")
    return threshold


def _why_no_calibration(encoder: Encoder, flip: bool) -> str:
    """Say why an existing calibration is not used; empty if there is none, or if it is used."""
    from spcl.verification.stored_calibration import FACT, stored_calibration

    stored = stored_calibration(encoder)
    if stored is None and FACT in encoder.facts:
        return ". The checkpoint's calibration is of other weights or another domain"
    if stored is None or stored.flip == flip:
        return ""
    return f". The checkpoint's calibration is of features {'with' if stored.flip else 'without'} --flip"
