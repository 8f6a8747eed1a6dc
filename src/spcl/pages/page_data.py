"""Other subjects of a page: an encoder on images, a gallery, a features file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from spcl.data.folder_dataset import split_for_evaluation
from spcl.data.source_options import SourceOptions
from spcl.errors import InputError
from spcl.gallery.features_file import FeaturesFile, is_features_file
from spcl.gallery.gallery import Gallery
from spcl.gallery.places import is_gallery
from spcl.inference.encode_options import EncodeOptions
from spcl.inference.query_checks import check_queries
from spcl.pages.encoded import encoded
from spcl.pages.page_groups import grouped_by_features
from spcl.pages.run_settings import SettingsSection, plain_settings
from spcl.pages.shown_images import ShownImages, read_source, texts
from spcl.pages.subjects import Subject
from spcl.randomness import generator
from spcl.records import Record, ReIDDataset
from spcl.reporting.console import Reporter
from spcl.settings import flat_values

MOST_ROWS = 20_000
"""Largest number of images of a gallery that a page is about; of more, a random sample."""

_OWN = ("path", "identity", "camera", "time")


def holds_features(place: Path) -> bool:
    """Whether a path is a gallery or a features file of ``spcl embed``."""
    return is_gallery(place) or (place.suffix.lower() == ".parquet" and is_features_file(place))


def read_encoder_subject(
    checkpoint: str | Path, data: str, options: SourceOptions, encoding: EncodeOptions, report: Reporter
) -> Subject:
    """Encode the images of a source, and group them.

    Args:
        checkpoint: The encoder; empty: the user's choice, otherwise ImageNet weights.
        data: The images.
        options: How the source is read.
        encoding: The user's choice of an encoder, and how images are read.
        report: Receives progress.

    Raises:
        InputError: If the encoder or the images cannot be used.
    """
    read = read_source(data, options, draw_queries=True)
    found = encoded(read.images, encoding, report, checkpoint=checkpoint)
    encoder = found.encoder
    settings = None
    if encoder is not None:
        main = [
            ("encoder", str(encoder.origin or checkpoint or "of unknown origin")),
            ("network", str(encoder.network.settings.arch)),
            ("images", f"{encoder.size[0]} x {encoder.size[1]} pixels (height x width)"),
            ("length of a feature", str(encoder.feature_dim)),
            ("fingerprint", encoder.fingerprint),
        ]
        config = encoder.facts.get("config")
        settings = SettingsSection(tuple(main), plain_settings(flat_values(config)) if isinstance(config, dict) else ())
    return Subject(
        title=f"{Path(checkpoint).name or 'An encoder'} on {data}",
        about="results",
        place=f"{checkpoint} {data}".strip(),
        settings=settings,
        images=found.images,
        dataset=read.dataset,
        grouped=grouped_by_features(found.images, report),
        encoder=encoder,
        no_labels=read.reason,
    )


def read_gallery_subject(place: Path, report: Reporter) -> Subject:
    """Read the images of a gallery or a features file with their features, and group them.

    Raises:
        InputError: If it cannot be read, or is empty.
    """
    features, columns, facts = _rows_of(place)
    if not len(features):
        raise InputError(f"{place} has no images; add some with spcl embed IMAGES --gallery", code="no-images")
    count, warnings = len(features), []
    images = _shown(features, columns)
    if count > MOST_ROWS:
        rows = np.sort(generator(0, "images of a page").choice(count, MOST_ROWS, replace=False))
        images = images.rows(rows.tolist())
        warnings.append(f"this page is about {MOST_ROWS:,} of {count:,} images, drawn at random")
    dataset, reason = _split(place.name, images)
    main = [("images", f"{count:,}"), ("length of a feature", str(features.shape[1]))]
    main += [(name, str(facts[name])) for name in ("fingerprint", "flip", "key") if name in facts]
    return Subject(
        title=f"Gallery {place.name or place}",
        about="groups",
        place=str(place),
        settings=SettingsSection(tuple(main)),
        images=images,
        dataset=dataset,
        grouped=grouped_by_features(images, report),
        no_labels=reason,
        warnings=tuple(warnings),
    )


def _rows_of(place: Path) -> tuple[Any, dict[str, list[Any]], dict[str, Any]]:
    """Read features, columns and facts of a gallery or a features file."""
    parts: Iterator[tuple[Any, dict[str, list[Any]]]]
    if is_gallery(place):
        gallery = Gallery.open(place)
        names = [*_OWN, *(["track"] if "track" in gallery.columns else [])]
        parts = ((part.features, dict(part.columns)) for part in gallery.read(names))
        facts = {"fingerprint": gallery.fingerprint, "flip": gallery.flip, "key": gallery.key}
    else:
        file = FeaturesFile(place)
        parts = ((features, table.to_pydict()) for table, features in file.parts())
        facts = {"fingerprint": file.facts.get("fingerprint")}
    features: list[Any] = []
    columns: dict[str, list[Any]] = {name: [] for name in (*_OWN, "track")}
    for values, some in parts:
        features.append(values)
        for name, known in columns.items():
            known += some.get(name) or [None] * len(values)
    every = np.concatenate(features) if features else np.empty((0, 1), dtype=np.float32)
    return every, columns, facts


def _shown(features: Any, columns: dict[str, list[Any]]) -> ShownImages:
    count = len(features)
    identities, cameras = (texts(columns[name], count) for name in ("identity", "camera"))
    numbers = [_numbered(values) for values in (identities, cameras)]
    records = tuple(
        Record(Path(path), identity=identity, camera=camera)
        for path, identity, camera in zip(columns["path"], *numbers, strict=True)
    )
    return ShownImages(
        records=records,
        identities=identities,
        cameras=cameras,
        times=texts(columns["time"], count),
        tracks=texts(columns["track"], count),
        splits=("",) * count,
        features=features,
    )


def _numbered(values: tuple[str | None, ...]) -> list[int | None]:
    numbers = {value: at for at, value in enumerate(dict.fromkeys(value for value in values if value is not None))}
    return [None if value is None else numbers[value] for value in values]


def _split(name: str, images: ShownImages) -> tuple[ReIDDataset | None, str]:
    """Split the enrolled images into queries and gallery, as an evaluation of a labelled folder does."""
    known = all(record.camera is not None for record in images.records)
    plain = ReIDDataset(name, train=images.records, protocol="market1501" if known else "no-camera")
    try:
        dataset = split_for_evaluation(plain)
        check_queries(dataset, dataset.protocol)
    except InputError as error:
        return None, str(error)
    return dataset, ""
