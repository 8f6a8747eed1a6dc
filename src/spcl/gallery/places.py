"""Where a gallery is: in a folder of this machine by LanceDB, or in Qdrant. Opens and makes its store."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spcl.errors import InputError
from spcl.gallery import folder
from spcl.gallery.qdrant.address import is_qdrant, qdrant_place, shown_place
from spcl.gallery.store import Store


def opened_store(path: str | Path) -> Store:
    """Open the store of a gallery.

    Raises:
        InputError: If there is none, or it cannot be used.
    """
    place = qdrant_place(path)
    if place is None:
        return Store(Path(path))

    from spcl.gallery.qdrant.store import QdrantStore

    return QdrantStore(place)


def made_store(path: str | Path, dim: int, facts: Mapping[str, Any]) -> Store:
    """Make an empty gallery.

    Raises:
        InputError: If something is there already, or it cannot be made.
    """
    place = qdrant_place(path)
    if place is None:
        return Store.create(Path(path), dim, facts)

    from spcl.gallery.qdrant.store import QdrantStore

    return QdrantStore.made(place, dim, facts)


def is_gallery(path: str | Path) -> bool:
    """Whether a path can only mean a gallery: a folder that holds one, or an address in Qdrant, there or not."""
    return is_qdrant(path) or folder.is_gallery(Path(path))


def gallery_exists(path: str | Path) -> bool:
    """Whether there is something at the place of a gallery that can be opened as one.

    Raises:
        InputError: If an address is wrong, or its server cannot be reached.
    """
    place = qdrant_place(path)
    if place is None:
        return folder.is_gallery(Path(path))

    from spcl.gallery.qdrant.store import is_there

    return is_there(place)


def folder_of_gallery(path: str | Path, command: str) -> Path:
    """Give the folder of a gallery to a command that keeps files in it.

    Raises:
        InputError: If the gallery is in Qdrant.
    """
    if is_qdrant(path):
        raise InputError(
            f"{command} keeps files beside the images and needs a gallery in a folder, not {shown_place(path)}: make "
            "one with spcl embed CHECKPOINT IMAGES --gallery FOLDER",
            code="gallery-not-in-a-folder",
        )
    return Path(path)
