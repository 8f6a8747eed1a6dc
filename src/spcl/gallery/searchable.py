"""Whatever a user searches in, as a gallery: a gallery, a features file, or images that are embedded first."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from spcl.data.image_files import what_is_there
from spcl.data.source_options import SourceOptions
from spcl.errors import InputError
from spcl.gallery.features_file import FeaturesFile, is_features_file
from spcl.gallery.folder import is_gallery
from spcl.gallery.gallery import Gallery
from spcl.gallery.images_to_rows import EmbeddedRows, FoundImages, embedded_rows, find_images
from spcl.gallery.store_in_memory import MOST_VALUES, StoreInMemory
from spcl.inference.embedding import Encoder
from spcl.reporting.console import Reporter
from spcl.runtime import Runtime
from spcl.threads import NumThreads


class Searchable:
    """What is searched in; images are not embedded until ``fill``.

    Attributes:
        gallery: As a gallery; of a file or of images, one that lasts as long as the ``with`` block.
        broken: Path and reason of each image that could not be read.
        notes: Remarks about the source of images, in sentences.
    """

    def __init__(
        self,
        gallery: Gallery,
        images: FoundImages | None = None,
        embed: Callable[[FoundImages], Iterator[EmbeddedRows]] | None = None,
    ) -> None:
        """A gallery, and images that are still to be embedded into it."""
        self.gallery = gallery
        self.broken: tuple[tuple[Path, str], ...] = ()
        self.notes = () if images is None else images.notes
        self._images, self._embed = images, embed

    def check_identities(self) -> None:
        """Raise an ``InputError`` for images without identities, before they are embedded."""
        if self._images is not None and not self._images.table.column("identity").is_valid().to_numpy().any():
            raise InputError(
                "no image of the gallery has an identity: give a table with a column identity, or a gallery of images "
                "with identities (spcl embed --gallery, of such a table or with --identity-from folder)"
            )

    def fill(self) -> None:
        """Embed the images, where there are any to be embedded."""
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
    *,
    where: str | None = None,
    options: SourceOptions | None = None,
    flip: bool = False,
    runtime: Runtime | None = None,
    report: Reporter | None = None,
    num_threads: NumThreads = "auto",
) -> Iterator[Searchable]:
    """Open a gallery's folder, a features file, or images of any kind, and check everything but the images.

    Images are embedded when the caller says so, ``Searchable.fill``, after checks of its own.

    Args:
        source: A folder that ``Gallery.create`` or ``spcl embed --gallery`` made; a Parquet file of ``spcl embed``; or
            what ``images_of`` takes.
        encoder: Whose vectors they must be; embeds images.
        where: A filter that will be used, to be checked first.
        options: Options of finding images and reading their columns; None: the defaults.
        flip: Embed images with their mirror images; a gallery or a file must hold such features.
        runtime: Device and precision.
        report: Receives progress.
        num_threads: Number of threads that decode; ``auto``: as many as compute; 0: the calling thread decodes.

    Raises:
        InputError: If there is nothing of the kind, or it comes from another encoder.
    """
    path = Path(source)
    if is_gallery(path):
        gallery = Gallery.open(path, encoder)
        gallery.check_flip(flip)
        if where is not None:
            gallery.check_filter(where)
        yield Searchable(gallery)
        return
    if path.suffix == ".npy":
        raise InputError(
            f"{path} does not say which encoder its features come from, nor anything else of the images: search in "
            f"the Parquet file that spcl embed CHECKPOINT IMAGES -o {path.with_suffix('.parquet')} writes"
        )
    if path.is_dir() and not any(path.iterdir()):
        raise InputError(f"there is neither a gallery nor an image: {what_is_there(path)}")
    if is_features_file(path):
        file = FeaturesFile(path)
        with _made_for(path, encoder, len(file), where=where, flip=flip) as gallery:
            _fill_from_file(gallery, file, encoder)
            if where is not None:
                gallery.check_filter(where)
            yield Searchable(gallery)
        return
    found = find_images(source, options)
    with _made_for(path, encoder, len(found.records), where=where, flip=flip) as gallery:
        gallery.add_columns(found.table)
        if where is not None:
            gallery.check_filter(where)
        yield Searchable(
            gallery,
            found,
            lambda images: embedded_rows(
                encoder, images, flip=flip, runtime=runtime, report=report, num_threads=num_threads
            ),
        )


@contextmanager
def _made_for(path: Path, encoder: Encoder, num_images: int, *, where: str | None, flip: bool) -> Iterator[Gallery]:
    """An empty gallery that lasts as long as the block: in memory, unless it is large or will be filtered."""
    if where is None and num_images * encoder.feature_dim <= MOST_VALUES:
        yield Gallery(
            StoreInMemory(path, encoder.feature_dim, {"fingerprint": encoder.fingerprint, "flip": flip}), encoder
        )
        return
    with TemporaryDirectory(prefix="spcl-") as temporary:
        yield Gallery.create(Path(temporary) / "gallery", encoder, flip=flip)


def _fill_from_file(gallery: Gallery, file: FeaturesFile, encoder: Encoder) -> None:
    fingerprint = file.facts.get("fingerprint")
    if fingerprint != encoder.fingerprint:
        raise InputError(
            f"the features of {file.path} come from the encoder {fingerprint}, not from this checkpoint's, "
            f"{encoder.fingerprint}: they cannot be compared. Use the checkpoint they were made with, or embed the "
            "images again"
        )
    if file.facts.get("flip", gallery.flip) != gallery.flip:
        held = "averaged with those of mirror images" if file.facts["flip"] else "of the images alone"
        raise InputError(
            f"the features of {file.path} are {held}: others cannot be compared with them well. "
            f"{'Add' if file.facts['flip'] else 'Leave out'} --flip"
        )
    for table, features in file.parts():
        gallery.add_table(table, features)
