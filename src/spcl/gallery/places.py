"""Where a gallery is: in a folder or on object storage by LanceDB, or in Qdrant. Opens and makes its store."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from spcl.errors import InputError
from spcl.gallery import folder
from spcl.gallery.cloud.errors import cloud_address
from spcl.gallery.qdrant.address import is_qdrant, qdrant_place, shown_place
from spcl.gallery.store import Store


def opened_store(path: str | Path) -> Store:
    """Open the store of a gallery.

    Raises:
        InputError: If there is none, or it cannot be used.
    """
    if (address := cloud_address(path)) is not None:
        from spcl.gallery.cloud.store import CloudStore

        return CloudStore(address)
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
    if (address := cloud_address(path)) is not None:
        from spcl.gallery.cloud.store import CloudStore

        return CloudStore.made(address, dim, facts)
    place = qdrant_place(path)
    if place is None:
        return Store.create(Path(path), dim, facts)

    from spcl.gallery.qdrant.store import QdrantStore

    return QdrantStore.made(place, dim, facts)


def is_gallery(path: str | Path) -> bool:
    """Whether a path can only mean a gallery: a place that holds one, or an address in Qdrant, there or not.

    Raises:
        InputError: If object storage cannot be reached.
    """
    return is_qdrant(path) or _is_on_storage(path) or folder.is_gallery(Path(path))


def gallery_exists(path: str | Path) -> bool:
    """Whether there is something at the place of a gallery that can be opened as one.

    Raises:
        InputError: If an address is wrong, or its server cannot be reached.
    """
    place = qdrant_place(path)
    if place is None:
        return _is_on_storage(path) or folder.is_gallery(Path(path))

    from spcl.gallery.qdrant.store import is_there

    return is_there(place)


def _is_on_storage(path: str | Path) -> bool:
    address = cloud_address(path)
    # Without LanceDB, an address can still be that of images.
    if address is None or find_spec("lancedb") is None:
        return False

    from spcl.gallery.cloud.connection import is_there

    return is_there(address)


def folder_of_gallery(path: str | Path, command: str) -> Path:
    """Give the folder, or the address on object storage, of a gallery to a command that keeps files beside it.

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
