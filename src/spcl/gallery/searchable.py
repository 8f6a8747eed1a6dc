"""Sources that can be searched, opened as a gallery: a gallery's folder, a features file, or images to embed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from spcl.data.image_files import what_is_there
from spcl.data.source_options import SourceOptions
from spcl.errors import InputError
from spcl.gallery.comparable_features import check_same_encoder, check_same_flip
from spcl.gallery.features_file import FeaturesFile, is_features_file
from spcl.gallery.gallery import Gallery
from spcl.gallery.images_to_rows import EmbeddedRows, FoundImages, embedded_rows, find_images
from spcl.gallery.places import is_gallery
from spcl.gallery.store_in_memory import MOST_VALUES, StoreInMemory
from spcl.inference.embedding import EmbedSettings, Encoder
from spcl.inference.encoder_origin import EncoderOrigin
from spcl.reporting.console import Reporter


class Searchable:
    """An open gallery; if it is made of images, they are not embedded before ``fill``.

    Attributes:
        gallery: The gallery; for a file or images, a temporary gallery that lasts as long as the ``with`` block.
        broken: Path and reason of each image that could not be read.
        notes: Remarks about the source of images, in sentences.
    """

    def __init__(
        self,
        gallery: Gallery,
        images: FoundImages | None = None,
        embed: Callable[[FoundImages], Iterator[EmbeddedRows]] | None = None,
    ) -> None:
        """Wrap a gallery, and images that are to be embedded into it."""
        self.gallery = gallery
        self.broken: tuple[tuple[Path, str], ...] = ()
        self.notes = () if images is None else images.notes
        self._images, self._embed = images, embed

    def check_identities(self) -> None:
        """Raise an ``InputError`` for images without identities, before they are embedded."""
        if self._images is not None and not self._images.table.column("identity").is_valid().to_numpy().any():
            raise InputError(
                "no image of the gallery has an identity: give a table with a column identity, or a gallery of images "
                "with identities (spcl embed --gallery, of such a table or with --identity-from folder)",
                code="no-identities",
            )

    def fill(self) -> None:
        """Embed the images that the gallery is made of, if they are not embedded yet."""
        if self._images is None or self._embed is None:
            return
        for part in self._embed(self._images):
            self.gallery.add_table(part.table, part.features)
            self.broken += part.broken
        self._images = None


@contextmanager
def searchable(
    source: str | Path,
    encoder: Encoder,
    settings: EmbedSettings,
    *,
    where: str | None = None,
    options: SourceOptions | None = None,
    report: Reporter | None = None,
) -> Iterator[Searchable]:
    """Open a gallery's folder, a features file, or images of any kind, and check everything but the images.

    Images are not embedded before the caller calls ``Searchable.fill``, so that it can do its own checks first.

    Args:
        source: A gallery's folder, a Parquet file of ``spcl embed``, or images in any form that ``images_of`` accepts.
        encoder: Encoder of the images; vectors of another encoder are refused.
        settings: How images are read and encoded; a gallery or a features file must have the same ``flip``.
        where: The filter of the search, which is checked here; None: no filter.
        options: How images are found, and which columns are read; None: the defaults.
        report: Receives progress.

    Raises:
        InputError: If the source cannot be used, or its features come from another encoder.
    """
    path = Path(source)
    if is_gallery(path):
        gallery = Gallery.open(path, encoder)
        gallery.check_flip(settings.flip)
        if where is not None:
            gallery.check_filter(where)
        yield Searchable(gallery)
        return
    if path.suffix == ".npy":
        raise InputError(
            f"{path} does not name the encoder of its features: search in the Parquet file that spcl embed CHECKPOINT "
            f"IMAGES -o {path.with_suffix('.parquet')} writes",
            code="wrong-file-kind",
        )
    if path.is_dir() and not any(path.iterdir()):
        raise InputError(f"there is neither a gallery nor an image in {path}: {what_is_there(path)}", code="no-images")
    if is_features_file(path):
        file = FeaturesFile(path)
        with _made_for(path, encoder, len(file), where=where, flip=settings.flip) as gallery:
            _fill_from_file(gallery, file, encoder)
            if where is not None:
                gallery.check_filter(where)
            yield Searchable(gallery)
        return
    found = find_images(source, options)
    with _made_for(path, encoder, len(found.records), where=where, flip=settings.flip) as gallery:
        gallery.add_columns(found.table)
        if where is not None:
            gallery.check_filter(where)
        yield Searchable(
            gallery,
            found,
            lambda images: embedded_rows(encoder, images, settings, report=report),
        )


@contextmanager
def _made_for(path: Path, encoder: Encoder, num_images: int, *, where: str | None, flip: bool) -> Iterator[Gallery]:
    """Make an empty temporary gallery: in memory, or on disk if it is large or will be filtered."""
    if where is None and num_images * encoder.feature_dim <= MOST_VALUES:
        yield Gallery(
            StoreInMemory(path, encoder.feature_dim, {"fingerprint": encoder.fingerprint, "flip": flip}), encoder
        )
        return
    with TemporaryDirectory(prefix="spcl-") as temporary:
        yield Gallery.create(Path(temporary) / "gallery", encoder, flip=flip)


def _fill_from_file(gallery: Gallery, file: FeaturesFile, encoder: Encoder) -> None:
    holder = f"the features file {file.path}"
    held, origin = str(file.facts.get("fingerprint")), EncoderOrigin.of_facts(file.facts)
    check_same_encoder(holder, held, encoder.fingerprint, origin)
    check_same_flip(holder, bool(file.facts.get("flip", gallery.flip)), gallery.flip)
    for table, features in file.parts():
        gallery.add_table(table, features)
