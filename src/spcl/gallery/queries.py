"""The images that a gallery is asked about: found, then embedded. Finding them loads nothing heavy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from spcl.data.image_endings import is_image_name
from spcl.data.image_files import what_is_there
from spcl.data.source_options import SourceOptions
from spcl.data.table_files import SUFFIXES
from spcl.errors import InputError
from spcl.inference.encode_options import EncodeOptions

if TYPE_CHECKING:
    from spcl.data.image_table import ImageTable
    from spcl.inference.embedding import EmbeddedImages, Encoder
    from spcl.records import Record
    from spcl.reporting.console import Reporter
    from spcl.runtime import Runtime

Queries = str | Path | tuple[str | Path, ...]
"""Files, folders, tables or registered names."""


def found_queries(queries: Queries, options: SourceOptions, *, purpose: str) -> ImageTable:
    """The images of all queries, each once, in their order.

    Args:
        queries: Files, folders, tables or registered names.
        options: Options of finding the images; their identities are not read.
        purpose: What is to be done with them, for the error: ``named``, say.

    Raises:
        InputError: If there is none.
    """
    from spcl.data.image_sources import images_of

    given = [str(query) for query in ((queries,) if isinstance(queries, str | Path) else queries)]
    if not given:
        raise InputError(f"which images are to be {purpose}? Give one, several, or a folder, after the gallery")
    for query in given:
        if is_image_name(query) and not Path(query).exists():
            raise InputError(f"there are no images at {query}: {what_is_there(Path(query))}")
    # Settings of tables may be meant for the gallery's.
    if not any(Path(query).suffix.lower() in SUFFIXES for query in given):
        options = replace(options, columns="", time_format="")
    return images_of(given, replace(options, identity_from="auto"))


def embedded_queries(
    encoder: Encoder, records: Sequence[Record], options: EncodeOptions, *, runtime: Runtime, report: Reporter
) -> EmbeddedImages:
    """Features of the images that a gallery is asked about, made as the options say.

    Raises:
        InputError: If none of them can be read.
    """
    from spcl.inference.embedding import embed_records

    return embed_records(
        encoder,
        records,
        runtime=runtime,
        report=report,
        num_threads=options.workers,
        flip=options.flip,
        name="queries",
    )
