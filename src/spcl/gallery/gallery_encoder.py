"""The encoder that a gallery or a features file remembers, so that a search in it needs no checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from spcl.gallery.features_file import FeaturesFile, is_features_file
from spcl.gallery.folder import is_gallery
from spcl.gallery.store import Store
from spcl.inference.embedding import Encoder
from spcl.inference.encode_options import EncoderChoice
from spcl.inference.encoder_choice import RememberedEncoder, chosen_encoder
from spcl.inference.encoder_origin import EncoderOrigin
from spcl.records import Record
from spcl.reporting.console import Reporter


def remembered_encoder(source: str | Path) -> RememberedEncoder | None:
    """What a gallery or a features file says of its encoder; None for images, and where there is no source."""
    if not source:
        return None
    path = Path(source)
    if is_gallery(path):
        holder, facts = f"the gallery {path}", Store(path).facts
    elif is_features_file(path):
        holder, facts = f"the features file {path}", FeaturesFile(path).facts
    else:
        return None
    return RememberedEncoder(holder, str(facts.get("fingerprint")), EncoderOrigin.of_facts(facts))


def encoder_to_search(
    choice: EncoderChoice, source: str | Path, records: Callable[[], Sequence[Record]], report: Reporter
) -> Encoder:
    """The encoder for a search in a source: as chosen, else as the source remembers, else one for its images.

    Args:
        choice: The encoder that the user chose.
        source: A gallery, a features file or images.
        records: The images of the source, where it is neither a gallery nor a features file.
        report: Gets what is used and why.

    Raises:
        InputError: See ``chosen_encoder``.
    """
    remembered = None if choice.checkpoint else remembered_encoder(source)
    return chosen_encoder(choice, records, remembered=remembered, report=report)
