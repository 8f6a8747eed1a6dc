"""Addresses of galleries in Qdrant.

``qdrant://HOST:PORT/COLLECTION`` and ``qdrant+https://HOST:PORT/COLLECTION`` are collections of a server;
``qdrant-local:FOLDER/COLLECTION`` is one in a folder, by the client's local mode. A ``Path`` writes the two slashes as
one, and both are read.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from spcl.data.cloud_storage import address_of
from spcl.errors import InputError

_ADDRESS = re.compile(r"(qdrant(?:\+https)?):/+(.*)|qdrant-local:(.*)", re.DOTALL)
_SERVER = re.compile(r"(?P<host>\[[0-9a-fA-F:]+\]|[^/:@\s]+)(?::(?P<port>\d{1,5}))?(?P<prefix>(?:/[^/\s]+)*)")
_NOT_IN_NAMES = '<>:"\\|?*'
_FORMS = "qdrant://HOST:6333/COLLECTION, qdrant+https://HOST:6333/COLLECTION or qdrant-local:FOLDER/COLLECTION"
_PORT = 6333


@dataclass(frozen=True)
class QdrantPlace:
    """A collection.

    Attributes:
        collection: Name of the collection.
        url: Address of the server; empty in local mode.
        folder: Folder of the local mode; None for a server.
        address: The address as it is shown.
    """

    collection: str
    url: str
    folder: Path | None
    address: str

    @property
    def path(self) -> Path:
        """The address as a path, which ``qdrant_place`` reads."""
        return Path(self.address)

    @property
    def holder(self) -> str:
        """What holds the collection, for messages."""
        return f"the server {self.url}" if self.folder is None else f"the folder {self.folder}"


def is_qdrant(path: str | Path) -> bool:
    """Whether a path is the address of a gallery in Qdrant."""
    return _ADDRESS.fullmatch(os.fspath(path)) is not None


def qdrant_place(path: str | Path) -> QdrantPlace | None:
    """Read an address; None for a path on this machine.

    Raises:
        InputError: If the address lacks the host, the folder or the collection, or has a port that is none.
    """
    text = os.fspath(path)
    found = _ADDRESS.fullmatch(text)
    if found is None:
        return None
    inner = found[3] if found[1] is None else found[2]
    holder, _, collection = inner.rstrip("/").rpartition("/")
    server = None if found[1] is None else _SERVER.fullmatch(holder)
    is_local = found[1] is None
    if not collection or (not is_local and server is None) or (is_local and not holder.strip("/")):
        raise InputError(
            f"{text} is no address of a gallery in Qdrant; expected {_FORMS}", code="invalid-gallery-address"
        )
    wrong = [char for char in collection if char in _NOT_IN_NAMES or ord(char) < 32]
    if wrong or collection in (".", ".."):
        raise InputError(
            f"{collection!r} in {text} cannot be the name of a collection: expected letters, digits, _ and -",
            code="invalid-gallery-address",
        )
    if server is None:
        return QdrantPlace(collection, "", Path(holder), f"qdrant-local:{holder}/{collection}")
    scheme = "https" if found[1] == "qdrant+https" else "http"
    port = int(server["port"] or _PORT)
    if not 0 < port < 65536:
        raise InputError(f"{text} has the port {port}; expected 1 to 65535", code="invalid-gallery-address")
    url = f"{scheme}://{server['host']}:{port}{server['prefix']}"
    return QdrantPlace(collection, url, None, f"{found[1]}://{holder}/{collection}")


def shown_place(path: str | Path) -> str:
    """A gallery's folder or address as it is shown: an address has both slashes."""
    place = qdrant_place(path) if is_qdrant(path) else None
    return (address_of(path) or os.fspath(path)) if place is None else place.address
