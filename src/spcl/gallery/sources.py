"""Whatever a user searches in, as a gallery: a gallery, a features file, or images that are embedded first."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from spcl.data.files import what_is_there
from spcl.engine.embed import Encoder
from spcl.engine.journal import Reporter
from spcl.errors import InputError
from spcl.gallery.features_file import FeaturesFile, is_features_file
from spcl.gallery.gallery import Gallery
from spcl.gallery.intake import embedded_rows, find_images
from spcl.gallery.store import is_gallery
from spcl.runtime import Runtime


@dataclass(frozen=True)
class Searchable:
    """What is searched in.

    Attributes:
        gallery: As a gallery; of a file or of images, one that lasts as long as the ``with`` block.
        broken: Path and reason of each image that could not be read.
    """

    gallery: Gallery
    broken: tuple[tuple[Path, str], ...] = field(default=())


@contextmanager
def searchable(
    source: str | Path,
    encoder: Encoder,
    *,
    where: str | None = None,
    data_dir: str | Path | None = None,
    flip: bool = False,
    runtime: Runtime | None = None,
    report: Reporter | None = None,
    num_threads: int = 4,
) -> Iterator[Searchable]:
    """Open a gallery's folder, a features file, or images of any kind.

    Args:
        source: A folder that ``Gallery.create`` or ``spcl embed --gallery`` made; a Parquet file of ``spcl embed``; or
            what ``find_crops`` takes.
        encoder: Whose vectors they must be; embeds images.
        where: A filter that will be used, to be checked before images are embedded.
        data_dir: The folder that holds registered data sets.
        flip: Embed images with their mirror images.
        runtime: Device and precision.
        report: Shows progress.
        num_threads: That decode at the same time.

    Raises:
        InputError: If there is nothing of the kind, or it comes from another encoder.
    """
    path = Path(source)
    if is_gallery(path):
        yield Searchable(Gallery.open(path, encoder))
        return
    if path.suffix == ".npy":
        raise InputError(
            f"{path} does not say which encoder its features come from, nor anything else of the images: search in "
            f"the Parquet file that spcl embed CHECKPOINT IMAGES -o {path.with_suffix('.parquet')} writes"
        )
    if path.is_dir() and not any(path.iterdir()):
        raise InputError(f"there is neither a gallery nor an image: {what_is_there(path)}")
    with TemporaryDirectory(prefix="spcl-") as temporary:
        gallery = Gallery.create(Path(temporary) / "gallery", encoder)
        if is_features_file(path):
            _fill_from_file(gallery, FeaturesFile(path), encoder)
            yield Searchable(gallery)
            return
        found = find_images(source, data_dir=data_dir)
        gallery.add_columns(found.table)
        if where is not None:
            gallery.check_filter(where)
        broken: list[tuple[Path, str]] = []
        parts = embedded_rows(encoder, found, flip=flip, runtime=runtime, report=report, num_threads=num_threads)
        for part in parts:
            gallery.add_table(part.table, part.features)
            broken.extend(part.broken)
        yield Searchable(gallery, tuple(broken))


def _fill_from_file(gallery: Gallery, file: FeaturesFile, encoder: Encoder) -> None:
    fingerprint = file.facts.get("fingerprint")
    if fingerprint != encoder.fingerprint:
        raise InputError(
            f"the features of {file.path} come from the encoder {fingerprint}, not from this checkpoint's, "
            f"{encoder.fingerprint}: they cannot be compared. Use the checkpoint they were made with, or embed the "
            "images again"
        )
    for table, features in file.parts():
        gallery.add_table(table, features)
