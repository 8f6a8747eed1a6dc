"""Names of a gallery's images in URLs: a hash of the path, which only images of the gallery have.

A client never sends a path. An id that belongs to no image of the gallery names nothing.
"""

from __future__ import annotations

import hashlib
import threading

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from spcl.gallery.filters import quoted
from spcl.gallery.gallery import Gallery

_ROWS = 65536


def image_id(path: str) -> str:
    """The id of an image, from its path as the gallery holds it: 16 hex digits."""
    return hashlib.blake2b(path.encode(), digest_size=8).hexdigest()


class ImageIds:
    """Finds the paths of ids. The ids are made in one pass over the gallery's paths, again after a write.

    Args:
        gallery: The gallery.
    """

    def __init__(self, gallery: Gallery) -> None:
        self._gallery = gallery
        self._lock = threading.Lock()
        self._state: str | None = None
        self._ids: NDArray[np.uint64] = np.empty(0, dtype=np.uint64)
        self._paths: pa.Array = pa.array([], pa.string())

    def path_of(self, name: str) -> str | None:
        """The path of the image with an id; None: the gallery has no such image now."""
        try:
            number = np.uint64(int(name, 16))
        except (ValueError, OverflowError):
            return None
        if len(name) != 16 or f"{number:016x}" != name:
            return None
        with self._lock:
            path = self._known(number)
            if self._state is not None and self._gallery.state() == self._state:
                return path
            # After a write: an image that is known may have been removed, another one may be new.
            if path is not None and self._gallery.count(f"path = {quoted(path)}"):
                return path
            self._read()
            return self._known(number)

    def _known(self, number: np.uint64) -> str | None:
        place = int(np.searchsorted(self._ids, number))
        return str(self._paths[place]) if place < len(self._ids) and self._ids[place] == number else None

    def _read(self) -> None:
        state = self._gallery.state()
        paths = [path for part in self._gallery.paths(_ROWS) for path in part]
        ids = np.array([int(image_id(path), 16) for path in paths], dtype=np.uint64)
        order = np.argsort(ids)
        self._ids, self._paths = ids[order], pa.array(paths, pa.string()).take(pa.array(order))
        self._state = state
