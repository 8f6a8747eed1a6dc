"""A gallery to be filled: opened, or made; one that was made is gone again where nothing came into it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from spcl.errors import InputError
from spcl.gallery.concurrent_writes import alone
from spcl.gallery.folder import is_gallery
from spcl.gallery.gallery import Gallery
from spcl.gallery.keys import KeyBy
from spcl.inference.embedding import Encoder


@contextmanager
def gallery_to_fill(folder: Path, encoder: Encoder, *, flip: bool, key: KeyBy | None = None) -> Iterator[Gallery]:
    """Open a gallery, or make it where there is none.

    Whatever ends the block before an image is in a gallery that it has made (a full disk, images that cannot be read,
    Ctrl-C), that gallery and the folders made for it are removed. If another program makes it at the same time, the
    other's is opened.

    Args:
        folder: Folder of the gallery.
        encoder: Encoder of the gallery's vectors.
        flip: Whether they are averaged with those of mirror images.
        key: What one image is; None: as the gallery has it, ``path`` for a new one.

    Raises:
        InputError: If it holds other features, has another key, or cannot be made.
    """
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    gallery = None
    if not is_gallery(folder):
        try:
            gallery = Gallery.create(folder, encoder, flip=flip, key=key or "path")
        except InputError:
            _remove_empty(missing)
            if not is_gallery(folder):
                raise
    if gallery is None:
        yield _opened(folder, encoder, flip=flip, key=key)
        return
    try:
        yield gallery
    except BaseException:
        with suppress(Exception), alone(folder):
            # Another program may have added to it meanwhile.
            if not len(gallery):
                shutil.rmtree(folder)
        _remove_empty(missing)
        raise


def _opened(folder: Path, encoder: Encoder, *, flip: bool, key: KeyBy | None) -> Gallery:
    gallery = Gallery.open(folder, encoder)
    gallery.check_flip(flip)
    if key not in (None, gallery.key):
        raise InputError(
            f"the key of images in the gallery {folder} is their {gallery.key}, not their {key}: leave out "
            "--key, or make another gallery"
        )
    return gallery


def _remove_empty(folders: list[Path]) -> None:
    """Remove folders that are there and empty, the innermost first."""
    for folder in folders:
        with suppress(OSError):
            folder.rmdir()
