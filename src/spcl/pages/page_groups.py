"""Groups for a page: read from the folder of ``spcl cluster``, or made from features by the same steps."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spcl.corrections.corrected_groups import read_groups
from spcl.corrections.folder_state import OUTDATED
from spcl.corrections.group_table import TABLE, read_group_table
from spcl.data.camera_parsing import cameras_of_files
from spcl.data.source_options import SourceOptions
from spcl.errors import InputError, first_line
from spcl.format_versions import GROUPS, KEY, check_format
from spcl.grouping.first_compilation import compile_label_stage
from spcl.grouping.groups import cluster
from spcl.grouping.groups_folder import BROKEN, SUMMARY
from spcl.grouping.individuals_again import individuals_after, stored_individuals
from spcl.inference.embedding import EmbeddedImages, Encoder
from spcl.inference.encode_options import EncodeOptions
from spcl.inference.encoder_origin import EncoderOrigin, RememberedEncoder
from spcl.nested_text import json_of
from spcl.pages.encoded import encoded, rows_read
from spcl.pages.group_cards import GroupedImages
from spcl.pages.run_settings import SettingsSection
from spcl.pages.shown_images import ShownImages, read_source, rows_of
from spcl.pages.subjects import Subject
from spcl.records import Record, ReIDDataset
from spcl.reporting.console import Reporter

FEWEST = 4
"""Smallest number of images that are grouped for a page."""

_SHOWN_SETTINGS = {
    "eps": "eps",
    "k1": "k1",
    "k2": "k2",
    "min_samples": "least images of a group, about",
    "checkpoint": "encoder",
}


def is_grouping(folder: Path) -> bool:
    """Whether a folder holds the groups of ``spcl cluster``."""
    return (folder / TABLE).is_file() and (folder / SUMMARY).is_file()


def read_grouping(
    folder: Path,
    options: SourceOptions,
    encoding: EncodeOptions | None,
    report: Reporter,
    *,
    known: tuple[EmbeddedImages, Encoder | None] | None = None,
) -> Subject:
    """Read the groups of ``spcl cluster``, with what the source of the images says of them.

    Args:
        folder: Folder that ``spcl cluster`` wrote.
        options: How a source is read.
        encoding: The user's choice of an encoder, and how images are read; None: images are not encoded.
        report: Receives progress.
        known: Features of the images and their encoder, which are then not computed; None: unknown.

    Raises:
        InputError: If the files of the folder cannot be understood.
    """
    summary = _summary(folder)
    images, numbers, confidence, names = _table(folder)
    images, dataset, warnings = _with_source(images, summary, options)
    images = replace(images, broken=_broken(folder))
    grouped = GroupedImages.of_numbers(numbers, confidence, "These are the groups of spcl cluster.", names)
    grouped = replace(grouped, individuals=stored_individuals(summary))
    encoder: Encoder | None = None
    before = images
    try:
        if known is not None:
            kept = rows_read(images.records, known[0].records)
            images, encoder = replace(images.rows(kept), features=known[0].features), known[1]
        elif encoding is not None:
            found = encoded(images, encoding, report, remembered=_remembered(folder, summary))
            images, encoder = found.images, found.encoder
            if encoder is not None and summary.get("encoder") not in (None, encoder.fingerprint):
                warnings += ("the features of this page are of another encoder than that of the groups",)
    except InputError as error:
        warnings += (f"similarities and the map are missing, for the images could not be encoded: {error}",)
    if images.features is not None and summary.get(OUTDATED):
        found_again = individuals_after(read_groups(folder), images.records, images.features)
        grouped = replace(grouped, individuals=found_again)
    if len(images) < len(before):
        rows = rows_of(before, images.records)
        grouped = replace(
            grouped,
            group=grouped.group[rows],
            confidence=None if grouped.confidence is None else grouped.confidence[rows],
        )
    return Subject(
        title=f"Groups in {folder.name or folder}",
        about="groups",
        place=str(folder),
        settings=_settings(summary),
        images=images,
        dataset=dataset,
        grouped=grouped,
        encoder=encoder,
        warnings=warnings,
    )


def _summary(folder: Path) -> dict[str, Any]:
    try:
        summary = dict(json_of((folder / SUMMARY).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise InputError(
            f"{folder / SUMMARY} cannot be read ({first_line(error)}); make the groups again with spcl cluster",
            code="damaged-file",
        ) from error
    check_format(summary.get(KEY), GROUPS, folder)
    return summary


def _table(
    folder: Path,
) -> tuple[ShownImages, NDArray[np.int64], NDArray[np.float64] | None, Mapping[int, str]]:
    """Read the images, their groups, the confidence if it is there, and the names of groups."""
    table = read_group_table(folder / TABLE)
    paths = table.paths
    cameras = cameras_of_files(paths)
    nothing = (None,) * len(paths)
    images = ShownImages(
        records=tuple(Record(path, camera=camera) for path, camera in zip(paths, cameras.numbers, strict=True)),
        identities=nothing,
        cameras=tuple(cameras.written),
        times=nothing,
        tracks=nothing,
        splits=("",) * len(paths),
    )
    # Without a column of confidences all are 0.
    confidence = table.confidence if table.confidence.any() else None
    return images, table.group, confidence, table.names


def _with_source(
    images: ShownImages, summary: Mapping[str, Any], options: SourceOptions
) -> tuple[ShownImages, ReIDDataset | None, tuple[str, ...]]:
    """Add cameras, times, tracks and identities of the source that was grouped, where it still exists."""
    source = summary.get("source")
    if not source:
        return images, None, ()
    try:
        read = read_source(source[0] if isinstance(source, list) and len(source) == 1 else source, options)
    except InputError as error:
        return images, None, (f"cameras and times of the source are missing: {error}",)
    rows = rows_of(read.images, images.records)
    if (rows < 0).any():
        return images, None, ("cameras and times of the source are missing: its images have changed",)
    same = read.images.rows(rows.tolist())
    return replace(same, left_out=()), read.dataset, ()


def _broken(folder: Path) -> tuple[tuple[Path, str], ...]:
    """Read path and reason of each image that was not grouped."""
    path = folder / BROKEN
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return tuple((Path(row["path"]), row["reason"]) for row in csv.DictReader(file))
    except (OSError, ValueError, KeyError, TypeError):  # there is none, or a person has changed it
        return ()


def _remembered(folder: Path, summary: Mapping[str, Any]) -> RememberedEncoder | None:
    origin = summary.get("encoder_origin")
    if not isinstance(origin, dict):
        return None
    return RememberedEncoder(f"the folder {folder}", str(summary.get("encoder")), EncoderOrigin(**origin))


def _settings(summary: Mapping[str, Any]) -> SettingsSection:
    main = [(title, summary[name]) for name, title in _SHOWN_SETTINGS.items() if summary.get(name) not in (None, "")]
    if not summary.get("checkpoint"):
        main.append(("encoder", "ImageNet weights, no checkpoint"))
    return SettingsSection(
        tuple((name, f"{value:g}" if isinstance(value, float) else str(value)) for name, value in main),
        reasons=tuple(map(str, summary.get("reasons") or ())),
    )


def grouped_by_features(
    images: ShownImages, report: Reporter, *, eps: object = "auto", k1: object = "auto", k2: object = "auto"
) -> GroupedImages | None:
    """Group images by their features, as ``spcl cluster`` does; None without features, or with too few images.

    Args:
        images: The images with their features.
        report: Receives progress.
        eps: Largest distance inside a group, if it is a number; otherwise suggested by the images.
        k1: Neighbours looked at, if it is a number; otherwise suggested by the images.
        k2: Neighbours averaged over, if it is a number; otherwise it goes with k1.
    """
    if images.features is None or len(images) < FEWEST:
        return None
    compile_label_stage(report)
    with report.progress("groups"):
        found = cluster(
            images.features,
            eps=float(eps) if isinstance(eps, int | float) else "auto",
            k1=int(k1) if isinstance(k1, int) else "auto",
            k2=int(k2) if isinstance(k2, int) else "auto",
        )
    origin = (
        f"The images were grouped by their features for this page, with eps {found.eps:g} and k1 {found.k1}, as spcl "
        "cluster does."
    )
    grouped = GroupedImages.of_numbers(found.group, found.confidence, origin)
    return replace(grouped, individuals=found.individuals)
