"""Features of a page's images, from the encoder that fits the page's subject."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from spcl.inference.embedding import EmbedSettings, Encoder, embed_records
from spcl.inference.encode_options import EncodeOptions, EncoderChoice
from spcl.inference.encoder_choice import chosen_encoder
from spcl.inference.encoder_origin import RememberedEncoder
from spcl.pages.shown_images import ShownImages
from spcl.records import Record
from spcl.reporting.console import Reporter


@dataclass(frozen=True)
class EncodedImages:
    """Images with features, and their encoder.

    Attributes:
        images: Those that could be read, with features; the others are in ``broken``.
        encoder: Their encoder; None: unknown.
    """

    images: ShownImages
    encoder: Encoder | None


def encoded(
    images: ShownImages,
    encoding: EncodeOptions,
    report: Reporter,
    *,
    checkpoint: str | Path = "",
    remembered: RememberedEncoder | None = None,
) -> EncodedImages:
    """Compute the features of images.

    Args:
        images: The images.
        encoding: The user's choice of an encoder, and how images are read.
        report: Receives progress.
        checkpoint: The encoder where the user chose none; empty: none.
        remembered: The encoder where the user chose none and there is no checkpoint; None: ImageNet weights.

    Raises:
        InputError: If the encoder cannot be used, or no image can be read.
    """
    if encoding.encoder.is_open and checkpoint:
        choice = EncoderChoice(checkpoint=str(checkpoint), domain=encoding.encoder.domain)
        encoding = replace(encoding, encoder=choice)
    runtime = encoding.runtime()
    encoder = chosen_encoder(encoding.encoder, lambda: images.records, remembered=remembered, report=report)
    found = embed_records(encoder, images.records, EmbedSettings.of(encoding, runtime), report=report)
    kept = rows_read(images.records, found.records)
    read = replace(images.rows(kept), features=found.features, broken=(*images.broken, *found.broken))
    return EncodedImages(read, encoder)


def rows_read(records: Sequence[Record], read: Sequence[Record]) -> list[int]:
    """Give the rows of the records that could be read; both are in one order."""
    kept, at = [], 0
    for row, record in enumerate(records):
        if at < len(read) and record.path == read[at].path:
            kept.append(row)
            at += 1
    return kept
