"""Open a gallery to add images, or create it; a new gallery without images is removed again after an error."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from spcl.errors import InputError
from spcl.gallery.gallery import Gallery
from spcl.gallery.keys import KeyBy
from spcl.gallery.places import gallery_exists
from spcl.gallery.qdrant.address import shown_place
from spcl.inference.embedding import Encoder


@contextmanager
def gallery_to_fill(folder: Path, encoder: Encoder, *, flip: bool, key: KeyBy | None = None) -> Iterator[Gallery]:
    """Open a gallery, or create it if there is none.

    If an error or Ctrl-C ends the block while the gallery that it created has no image, the gallery and the folders
    that were made for it are removed. If another program creates it at the same time, that gallery is opened.

    Args:
        folder: Folder of the gallery.
        encoder: Encoder of the gallery's vectors.
        flip: Whether the vectors are averaged with those of mirror images.
        key: What identifies an image; None: the gallery's setting, and ``path`` for a new gallery.

    Raises:
        InputError: If the gallery has another encoder, ``flip`` or key, or cannot be created.
    """
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    gallery = None
    if not gallery_exists(folder):
        try:
            gallery = Gallery.create(folder, encoder, flip=flip, key=key or "path")
        except InputError:
            _remove_empty(missing)
            if not gallery_exists(folder):
                raise
    if gallery is None:
        yield _opened(folder, encoder, flip=flip, key=key)
        return
    try:
        yield gallery
    except BaseException:
        with suppress(Exception):
            gallery._store.remove_if_empty()
        _remove_empty(missing)
        raise


def _opened(folder: Path, encoder: Encoder, *, flip: bool, key: KeyBy | None) -> Gallery:
    gallery = Gallery.open(folder, encoder)
    gallery.check_flip(flip)
    if key not in (None, gallery.key):
        raise InputError(
            f"the key of images in the gallery {shown_place(folder)} is their {gallery.key}, not their {key}: leave "
            "out --key, or make another gallery",
            code="key-mismatch",
        )
    return gallery


def _remove_empty(folders: list[Path]) -> None:
    """Remove those of the folders that are empty, the innermost first."""
    for folder in folders:
        with suppress(OSError):
            folder.rmdir()
