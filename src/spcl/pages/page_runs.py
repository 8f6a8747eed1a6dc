"""Training runs for a page: their curves, and the images of a run as its encoder sees them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from spcl.data.source_options import SourceOptions
from spcl.errors import InputError
from spcl.inference.encode_options import EncodeOptions
from spcl.pages.encoded import encoded
from spcl.pages.group_cards import NOT_GROUPED
from spcl.pages.page_groups import grouped_by_features
from spcl.pages.run_curves import ShownRun, read_runs
from spcl.pages.run_settings import settings_of_runs
from spcl.pages.shown_images import ReadSource, ShownImages, read_source
from spcl.pages.subjects import Subject
from spcl.reporting.console import Reporter

_ADAPTED, _LAST, _BEST = "adapted.pth.tar", "checkpoint.pth.tar", "model_best.pth.tar"


def read_run_subject(
    folders: Sequence[Path], data: str, options: SourceOptions, encoding: EncodeOptions | None, report: Reporter
) -> Subject:
    """Read runs; of a single run its images too.

    Args:
        folders: Folders of the runs.
        data: Images in place of the run's target; empty: the target.
        options: How a source is read; the settings of the run replace its defaults.
        encoding: The user's choice of an encoder, and how images are read; None: images are not encoded.
        report: Receives progress.

    Raises:
        InputError: If a file of a run cannot be understood.
    """
    runs = read_runs(folders)
    single = len(runs) == 1
    subject = Subject(
        title=f"Run {runs[0].name}" if single else f"{len(runs)} runs",
        about="runs",
        place=", ".join(map(str, folders)),
        runs=runs,
        settings=settings_of_runs(runs),
    )
    if not single:
        return subject
    run, warnings = runs[0], []
    if run.planned_epochs > len(run.epochs):
        warnings.append(f"{len(run.epochs)} of {run.planned_epochs} epochs are finished")
    try:
        read = source_of_run(run, data, options)
    except InputError as error:
        return replace(subject, warnings=(*warnings, f"the images of the run are missing from this page: {error}"))
    subject = replace(subject, images=read.images, dataset=read.dataset, no_labels=read.reason)
    try:
        if encoding is not None:
            subject = _with_features(subject, read.images, encoding, report)
    except InputError as error:
        warnings.append(f"similarities, groups and the map are missing, for the images could not be encoded: {error}")
    return replace(subject, warnings=(*subject.warnings, *warnings))


def source_of_run(run: ShownRun, data: str, options: SourceOptions, *, draw_queries: bool = False) -> ReadSource:
    """Read the images of a run's target, or others, by the settings of the run.

    Args:
        run: The run.
        data: Images in place of the run's target; empty: the target.
        options: How the source is read; the settings of the run replace its defaults.
        draw_queries: Whether a folder per identity is split into queries and gallery.

    Raises:
        InputError: If there are no such images.
    """
    settings = run.settings
    source = data or str(settings.get("data.target", ""))
    if not source:
        raise InputError(f"{run.folder} does not name its target; give the images with --data", code="missing-argument")
    plain, given = SourceOptions(), {}
    for name in ("data_dir", "columns", "time_format", "identity_from", "duplicates", "layout"):
        kept: Any = settings.get(f"data.{name}")
        if getattr(options, name) == getattr(plain, name) and kept not in (None, ""):
            given[name] = kept
    return read_source(source, replace(options, **given), draw_queries=draw_queries)


def checkpoint_of_run(folder: Path) -> Path:
    """Give the checkpoint of a run: the adapted encoder, otherwise that of the last epoch, otherwise the best one.

    Raises:
        InputError: If there is none.
    """
    for name in (_ADAPTED, _LAST, _BEST):
        if (folder / name).is_file():
            return folder / name
    raise InputError(
        f"there is no checkpoint in {folder}: no epoch of the run is saved; train it further with --resume",
        code="no-such-checkpoint",
    )


def _with_features(subject: Subject, images: ShownImages, encoding: EncodeOptions, report: Reporter) -> Subject:
    run = subject.runs[0]
    checkpoint = checkpoint_of_run(run.folder) if encoding.encoder.is_open else ""
    found = encoded(images, encoding, report, checkpoint=checkpoint)
    is_target = np.array([split in ("", "train") for split in found.images.splits])
    target = found.images.rows(np.flatnonzero(is_target).tolist())
    labels = {name: run.settings.get(f"labels.{name}") for name in ("eps", "k1", "k2")}
    own = grouped_by_features(target, report, **labels)
    grouped = None
    if own is not None:
        group = np.full(len(found.images), NOT_GROUPED, dtype=np.int64)
        group[is_target] = own.group
        confidence = np.zeros(len(found.images))
        confidence[is_target] = own.confidence
        origin = f"The target's training images, grouped by the features of {Path(checkpoint).name or 'the encoder'}."
        grouped = replace(own, group=group, confidence=confidence, origin=f"{origin} {own.origin}")
    return replace(subject, images=found.images, encoder=found.encoder, grouped=grouped)
