"""From what the user gave to the report: which kind of subject it is, and the sections that its parts permit."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spcl.data.image_files import what_is_there
from spcl.errors import InputError
from spcl.inference.embedding import EmbeddedImages, Encoder
from spcl.pages.adapted import AdaptationSection, adaptation_section
from spcl.pages.compared import ComparisonSection, comparison_section
from spcl.pages.data_facts import data_section
from spcl.pages.groups_section import groups_section
from spcl.pages.image_map import map_section
from spcl.pages.page import Report
from spcl.pages.page_comparison import read_comparison
from spcl.pages.page_data import holds_features, read_encoder_subject, read_gallery_subject
from spcl.pages.page_groups import is_grouping, read_grouping
from spcl.pages.page_runs import checkpoint_of_run, read_run_subject
from spcl.pages.pictures import PictureBook
from spcl.pages.ranked_images import Ranked, rank_images
from spcl.pages.rankings import ranked_section
from spcl.pages.run_curves import curves_section, holds_run
from spcl.pages.shown_images import ShownImages, read_source, rows_of
from spcl.pages.similarities import SimilaritySection, UsedCalibration, similarity_section, used_calibration
from spcl.pages.subjects import Subject
from spcl.pages.summaries import summary
from spcl.pages.write_report import ReportRequest
from spcl.records import Record, identities_of
from spcl.reporting.console import Reporter
from spcl.threads import decoding_threads


def read_subject(
    request: ReportRequest, report: Reporter, known: tuple[EmbeddedImages, Encoder | None] | None = None
) -> Subject:
    """Find out what a page is about, and read it.

    Args:
        request: What the user gave.
        report: Receives progress.
        known: Features of the images of a grouping and their encoder; None: unknown.

    Raises:
        InputError: If there is no such subject, or its files cannot be understood.
    """
    places = [Path(place) for place in request.subjects]
    for place in places[:1] if len(places) == 2 else places:
        if not place.exists() and len(places) > 1:
            raise InputError(f"there is nothing at {place}: {what_is_there(place)}", code="no-such-file")
    encoding = None if request.quick else request.encoding
    if request.compare:
        return read_comparison(places, request.data, request.source, request.encoding, report)
    if all(holds_run(place) for place in places):
        return read_run_subject(places, request.data, request.source, encoding, report)
    if request.data:
        raise InputError(
            f"--data {request.data} is for the folder of a run, and {places[0]} is none; leave it out",
            code="option-does-not-apply",
        )
    if len(places) == 1:
        return _single(places[0], request, report, known)
    if len(places) > 2:
        others = ", ".join(str(place) for place in places if not holds_run(place))
        raise InputError(
            f"a page is about one subject or about several runs; not a run: {others}", code="too-many-arguments"
        )
    checkpoint = checkpoint_of_run(places[0]) if places[0].is_dir() else places[0]
    data = str(request.subjects[1])
    if request.quick:
        return _of_images(data, request)
    return read_encoder_subject(checkpoint, data, request.source, request.encoding, report)


def _single(
    place: Path, request: ReportRequest, report: Reporter, known: tuple[EmbeddedImages, Encoder | None] | None
) -> Subject:
    encoding = None if request.quick else request.encoding
    if is_grouping(place):
        return read_grouping(place, request.source, encoding, report, known=known)
    if holds_features(place):
        return read_gallery_subject(place, report)
    if request.quick:
        return _of_images(str(request.subjects[0]), request)
    return read_encoder_subject("", str(request.subjects[0]), request.source, request.encoding, report)


def _of_images(data: str, request: ReportRequest) -> Subject:
    read = read_source(data, request.source, draw_queries=True)
    return Subject(title=f"Images of {data}", about="groups", place=data, images=read.images)


def build_report(subject: Subject, request: ReportRequest, report: Reporter) -> Report:
    """Make every section that a subject has the parts for.

    Args:
        subject: The subject of the page.
        request: What the user asked for.
        report: Receives progress.
    """
    book = PictureBook(num_threads=decoding_threads(request.encoding.workers))
    images = subject.images
    built = Report(
        title=subject.title,
        about=subject.about,
        subtitle=_subtitle(subject),
        summary=(),
        made=date.today().isoformat(),
        book=book,
        settings=subject.settings,
        curves=curves_section(subject.runs),
        adaptation=_adaptation(subject),
        warnings=subject.warnings,
    )
    if images is None:
        return replace(built, summary=summary(subject, None, None, None, None))
    with report.progress("images"):
        ranked = None if subject.dataset is None else rank_images(images, subject.dataset)
        rated, records = _rated(images, subject)
        calibration, reason = used_calibration(rated, records, subject.encoder, rate=request.false_match_rate)
    with report.progress("groups and results"):
        comparison = _comparison(subject, ranked, book)
        groups = None
        if subject.grouped is not None:
            groups = groups_section(images, subject.grouped, calibration, book)
        section = None if subject.before is not None else ranked_section(images, ranked, calibration, book)
        similarities = _similarities(images, rated, records, subject, calibration)
    with report.progress("map"):
        placed = None if subject.before is not None else map_section(images, subject.grouped, book)
    return replace(
        built,
        summary=summary(subject, groups, section, similarities, comparison),
        data=data_section(images),
        groups=groups,
        ranked=section,
        similarities=similarities,
        map=placed,
        comparison=comparison,
        no_labels=f"Without an evaluation: {subject.no_labels}." if subject.no_labels else "",
        no_calibration=f"There are no probabilities: {reason}." if reason else "",
        paths=tuple(record.path for record in images.records),
    )


def _subtitle(subject: Subject) -> str:
    return subject.place if subject.images is None else f"{subject.place}: {len(subject.images):,} images"


def _adaptation(subject: Subject) -> AdaptationSection | None:
    runs = subject.runs
    found = runs[0].adaptation if len(runs) == 1 else None
    return None if found is None else adaptation_section(found)


def _comparison(subject: Subject, after: Ranked | None, book: PictureBook) -> ComparisonSection | None:
    images, before = subject.images, subject.before
    if images is None or before is None or subject.dataset is None or after is None:
        return None
    first = rank_images(before, subject.dataset)
    return None if first is None else comparison_section((before, images), (first, after), subject.names, book)


def _rated(images: ShownImages, subject: Subject) -> tuple[ShownImages, tuple[Record, ...]]:
    """Give the images of the evaluation, with their identities; all images without any where there is none."""
    if subject.dataset is None:
        return images, tuple(replace(record, identity=None) for record in images.records)
    records = subject.dataset.query + subject.dataset.gallery
    rows = rows_of(images, records)
    # An image may be a query and in the gallery.
    _, first = np.unique(rows, return_index=True)
    kept = [at for at in sorted(first.tolist()) if rows[at] >= 0]
    distractors = subject.dataset.distractors
    shown = tuple(
        replace(records[at], identity=None) if records[at].identity == distractors else records[at] for at in kept
    )
    return images.rows(rows[kept].tolist()), shown


def _similarities(
    images: ShownImages,
    rated: ShownImages,
    records: tuple[Record, ...],
    subject: Subject,
    calibration: UsedCalibration | None,
) -> SimilaritySection | None:
    """Make the histograms from identities, otherwise from groups."""
    objects: NDArray[np.int64] = identities_of(records)
    if (objects >= 0).any():
        found = similarity_section(rated, objects, "the identities of the images", calibration)
        if found is not None:
            return found
    if subject.grouped is None:
        return None
    group = np.maximum(subject.grouped.group, -1)
    return similarity_section(images, group, "the groups, which may be wrong; there are no labels", calibration)
