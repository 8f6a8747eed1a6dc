"""The images that a user searches for or identifies, and the gallery: found, checked and opened, then embedded.

``search_images`` and ``identify_images`` both begin here. Importing this module does not load torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spcl.data.image_endings import is_image_name
from spcl.data.image_files import what_is_there
from spcl.data.source_options import SourceOptions
from spcl.data.stored_images import is_stored
from spcl.data.table_files import SUFFIXES
from spcl.errors import InputError
from spcl.inference.encode_options import By, EncodeOptions
from spcl.reporting.console import Reporter, WarningsKept, say_notes

if TYPE_CHECKING:
    from spcl.data.image_table import ImageTable
    from spcl.gallery.searchable import Searchable
    from spcl.inference.embedding import EmbeddedImages, EmbedSettings, Encoder
    from spcl.records import Record

Queries = str | Path | tuple[str | Path, ...]
"""Files, folders, tables or registered names."""


@dataclass(frozen=True)
class QueryRequest:
    """Images and the gallery that they are compared with.

    Attributes:
        gallery: A gallery's folder, a features file (Parquet), or images of any kind, which are embedded first.
        queries: The images to compare: a path, or several; an image, a folder, a table or a registered name.
        by: What gets one answer: an ``image``, or a ``track``, all images of it together.
        source: How images are found, and which columns are read.
        encoding: The encoder and its options; by default the gallery's encoder.
    """

    gallery: str | Path
    queries: Queries
    by: By = field(default="image", kw_only=True)
    source: SourceOptions = field(default_factory=SourceOptions, kw_only=True)
    encoding: EncodeOptions = field(default_factory=EncodeOptions, kw_only=True)


@dataclass(frozen=True)
class OpenRequest:
    """A request whose images are found and whose gallery is open.

    Attributes:
        encoder: Encoder of the queries and of the gallery.
        source: The gallery; where it is made of images, ``source.fill`` embeds them.
        records: Records of the queries.
        quality: Quality of the queries, by path; empty where their source has no column ``quality``.
        notes: Remarks about the queries and the gallery, in sentences.
        report: Receives progress, and keeps the warnings.
    """

    encoder: Encoder
    source: Searchable
    records: tuple[Record, ...]
    quality: Mapping[Path, Any]
    notes: tuple[str, ...]
    report: WarningsKept
    _settings: EmbedSettings

    def embed_queries(self) -> EmbeddedImages:
        """Compute the features of the queries.

        Raises:
            InputError: If none of them can be read.
        """
        from spcl.inference.embedding import embed_records

        return embed_records(self.encoder, self.records, self._settings, report=self.report, name="queries")


@contextmanager
def opened_request(
    request: QueryRequest, *, purpose: str, where: str | None, report: Reporter | None
) -> Iterator[OpenRequest]:
    """Find the queries, choose the encoder and open the gallery; no image is embedded yet.

    Args:
        request: The queries and the gallery.
        purpose: Purpose of the queries, for the error message where there is none: ``named``.
        where: Filter of the gallery's images, which is checked here; None: no filter.
        report: Receives notes, progress and warnings; None: nothing is shown.

    Raises:
        InputError: If queries, encoder, gallery or filter cannot be used.
    """
    wanted = found_queries(request.queries, request.source, purpose=purpose)

    from spcl.data.image_sources import images_of
    from spcl.gallery.gallery_encoder import encoder_to_search
    from spcl.gallery.searchable import searchable
    from spcl.inference.embedding import EmbedSettings

    kept = WarningsKept(report)
    settings = EmbedSettings.of(request.encoding, request.encoding.runtime())

    def gallery_records() -> tuple[Record, ...]:
        return images_of(request.gallery, request.source).records

    encoder = encoder_to_search(request.encoding.encoder, request.gallery, gallery_records, kept)
    with searchable(request.gallery, encoder, settings, where=where, options=request.source, report=kept) as source:
        notes = tuple(dict.fromkeys((*wanted.notes, *source.notes)))
        say_notes(kept, notes)
        yield OpenRequest(encoder, source, wanted.records, _quality_of(wanted), notes, kept, settings)


def _quality_of(images: ImageTable) -> dict[Path, Any]:
    values = images.columns.get("quality", [])
    return {record.path: value for record, value in zip(images.records, values, strict=False)}


def found_queries(queries: Queries, options: SourceOptions, *, purpose: str) -> ImageTable:
    """Find the images of all queries, each once, in their order.

    Args:
        queries: Files, folders, tables or registered names.
        options: How the images are found; their identities are not read.
        purpose: Purpose of the images, for the error message: ``named``.

    Raises:
        InputError: If there is none.
    """
    from spcl.data.image_sources import images_of

    given = [str(query) for query in ((queries,) if isinstance(queries, str | Path) else queries)]
    if not given:
        raise InputError(
            f"the images to be {purpose} are missing; give one, several, or a folder, after the gallery",
            code="no-images",
        )
    for query in given:
        if is_image_name(query) and not (is_stored(Path(query)) or Path(query).exists()):
            raise InputError(f"there are no images at {query}: {what_is_there(Path(query))}", code="no-such-source")
    # Options of tables may be meant for the gallery's table only.
    if not any(Path(query).suffix.lower() in SUFFIXES for query in given):
        options = replace(options, columns="", time_format="")
    return images_of(given, replace(options, identity_from="auto"))
