"""The encoder that is stored in a gallery or a features file, so that a search needs no checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from spcl.gallery.features_file import FeaturesFile, is_features_file
from spcl.gallery.places import gallery_exists, is_gallery, opened_store
from spcl.gallery.qdrant.address import shown_place
from spcl.inference.embedding import Encoder
from spcl.inference.encode_options import EncoderChoice
from spcl.inference.encoder_choice import chosen_encoder
from spcl.inference.encoder_origin import EncoderOrigin, RememberedEncoder
from spcl.records import Record
from spcl.reporting.console import Reporter


def remembered_encoder(source: str | Path) -> RememberedEncoder | None:
    """Read how the encoder of a gallery or a features file was made; None for images, and without a source."""
    if not source:
        return None
    path = Path(source)
    if is_gallery(path):
        holder, facts = f"the gallery {shown_place(path)}", opened_store(path).facts
    elif is_features_file(path):
        holder, facts = f"the features file {path}", FeaturesFile(path).facts
    else:
        return None
    return RememberedEncoder(holder, str(facts.get("fingerprint")), EncoderOrigin.of_facts(facts))


def encoder_to_search(
    choice: EncoderChoice, source: str | Path, records: Callable[[], Sequence[Record]], report: Reporter
) -> Encoder:
    """Choose the encoder of a search: the user's choice, else that of the source, else ImageNet weights.

    Args:
        choice: The encoder that the user chose.
        source: A gallery, a features file or images.
        records: The images of the source, where it is neither a gallery nor a features file.
        report: Receives a line on the encoder that is used.

    Raises:
        InputError: If the chosen encoder cannot be loaded, or that of the source is unknown or has changed.
    """
    remembered = None if choice.checkpoint else remembered_encoder(source)
    return chosen_encoder(choice, records, remembered=remembered, report=report)


def encoder_to_fill(
    choice: EncoderChoice, gallery: str | Path | None, records: Callable[[], Sequence[Record]], report: Reporter
) -> Encoder:
    """Choose the encoder of images for a gallery, which may not exist yet: the user's choice, else that of the gallery.

    Args:
        choice: The encoder that the user chose.
        gallery: The gallery; None: there is none.
        records: The images.
        report: Receives a line on the encoder that is used.

    Raises:
        InputError: If the chosen encoder cannot be loaded, or that of the gallery is unknown or has changed.
    """
    source = gallery if gallery and gallery_exists(gallery) else ""
    return encoder_to_search(choice, source, records, report)
