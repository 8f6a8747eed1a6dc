"""From images to the rows of a gallery: found, with their columns, and embedded in parts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from spcl.data.image_key import kept_path
from spcl.data.image_sources import Source, images_of
from spcl.data.source_options import SourceOptions
from spcl.gallery.columns import described, path_text
from spcl.records import Record
from spcl.reporting.console import Reporter

if TYPE_CHECKING:
    from spcl.inference.embedding import EmbeddedImages, EmbedSettings, Encoder
    from spcl.inference.engine import RayJob

IMAGES_A_PART = 4096


@dataclass(frozen=True)
class FoundImages:
    """Images that are found but not yet read; their columns are checked.

    Attributes:
        records: Records of the images.
        table: Columns of the images, from ``columns.described``, with a row for each record; paths are absolute.
        notes: Remarks about the source, in sentences.
    """

    records: tuple[Record, ...]
    table: pa.Table
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class EmbeddedRows:
    """A part of the images, embedded.

    Attributes:
        table: Columns of the images that could be read.
        features: Features of these images, ``[len(table), D]`` float32, unit rows.
        broken: Path and reason of each image that could not be read.
    """

    table: pa.Table
    features: NDArray[np.float32]
    broken: tuple[tuple[Path, str], ...]


def find_images(
    images: Source,
    options: SourceOptions | None = None,
    *,
    columns: Mapping[str, Sequence[Any]] | None = None,
) -> FoundImages:
    """Find images and their columns.

    Args:
        images: Images in any form that ``images_of`` accepts.
        options: How the images are found, and which columns are read; None: the defaults.
        columns: Columns that replace those of the images, with a value for each image; None: none.

    Raises:
        InputError: If there are no images, or a column cannot be used.
    """
    given = {name: list(values) for name, values in (columns or {}).items()}
    found = images_of(images, options, columns=given)
    paths = [kept_path(record.path) for record in found.records]
    return FoundImages(found.records, described(paths, columns=found.columns), found.notes)


def embedded_rows(
    encoder: Encoder,
    found: FoundImages,
    settings: EmbedSettings | None = None,
    *,
    report: Reporter | None = None,
    cluster: RayJob | None = None,
) -> Iterator[EmbeddedRows]:
    """Embed the images part by part; images that cannot be read are left out and listed.

    Args:
        encoder: The encoder; it is moved to the runtime's device.
        found: The images.
        settings: How the images are read and encoded; None: the defaults.
        report: Receives progress.
        cluster: The Ray cluster that computes the features, in place of this process and of ``settings``.

    Raises:
        InputError: If none can be read.
    """
    at = 0
    for part in _parts(encoder, found, settings, report, cluster):
        rows = found.table.slice(at, len(part.records) + len(part.broken))
        at += len(rows)
        left_out = {path_text(kept_path(path)) for path, _ in part.broken}
        if left_out:
            rows = rows.filter(pa.array([name not in left_out for name in rows.column("path").to_pylist()]))
        yield EmbeddedRows(rows, part.features, part.broken)


def _parts(
    encoder: Encoder,
    found: FoundImages,
    settings: EmbedSettings | None,
    report: Reporter | None,
    cluster: RayJob | None,
) -> Iterator[EmbeddedImages]:
    if cluster is None or not found.records:
        from spcl.inference.embedding import embed_parts

        return embed_parts(encoder, found.records, settings, part=IMAGES_A_PART, report=report, name="images")

    from spcl.inference.ray_embedding import embed_parts_with_ray

    return embed_parts_with_ray(encoder, found.records, cluster, part=IMAGES_A_PART, report=report, name="images")
