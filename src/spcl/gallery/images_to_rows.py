"""From images to rows: found, described as the user described them, embedded part by part."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from spcl.data.image_key import kept_path
from spcl.data.image_sources import Source, images_of
from spcl.data.source_options import SourceOptions
from spcl.gallery.columns import described, path_text
from spcl.inference.embedding import Encoder, embed_parts
from spcl.records import Record
from spcl.reporting.console import Reporter
from spcl.runtime import Runtime
from spcl.threads import NumThreads

IMAGES_A_PART = 4096


@dataclass(frozen=True)
class FoundImages:
    """Images before they are read: their descriptions are checked.

    Attributes:
        records: The images.
        table: Their columns, as ``columns.described`` makes them, a row for each record; paths are absolute.
        notes: Remarks about the source, in sentences.
    """

    records: tuple[Record, ...]
    table: pa.Table
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class EmbeddedRows:
    """A part of the images.

    Attributes:
        table: The columns of those that could be read.
        features: ``[len(table), D]`` float32, unit rows.
        broken: Path and reason of each of the others.
    """

    table: pa.Table
    features: NDArray[np.float32]
    broken: tuple[tuple[Path, str], ...]


def find_images(
    images: Source,
    options: SourceOptions | None = None,
    *,
    columns: Mapping[str, Sequence[Any] | None] | None = None,
) -> FoundImages:
    """The images that a user points at, and what is known of them.

    Args:
        images: Images in any form that ``images_of`` accepts.
        options: Options of reading; None: the defaults.
        columns: Columns that stand for those of the images, one value for each that is given; None: left as they are.

    Raises:
        InputError: If there are no images, or a column cannot be used.
    """
    given = {name: list(values) for name, values in (columns or {}).items() if values is not None}
    found = images_of(images, options, columns=given)
    paths = [kept_path(record.path) for record in found.records]
    return FoundImages(found.records, described(paths, columns=found.columns), found.notes)


def embedded_rows(
    encoder: Encoder,
    found: FoundImages,
    *,
    flip: bool = False,
    runtime: Runtime | None = None,
    report: Reporter | None = None,
    num_threads: NumThreads = "auto",
) -> Iterator[EmbeddedRows]:
    """The images part by part, with their features; those that cannot be read are left out and named.

    Raises:
        InputError: If none can be read.
    """
    at = 0
    for part in embed_parts(
        encoder,
        found.records,
        part=IMAGES_A_PART,
        flip=flip,
        runtime=runtime,
        report=report,
        num_threads=num_threads,
        name="images",
    ):
        rows = found.table.slice(at, len(part.records) + len(part.broken))
        at += len(rows)
        left_out = {path_text(kept_path(path)) for path, _ in part.broken}
        if left_out:
            rows = rows.filter(pa.array([name not in left_out for name in rows.column("path").to_pylist()]))
        yield EmbeddedRows(rows, part.features, part.broken)
