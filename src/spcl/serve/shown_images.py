"""Images of the gallery as JPEG files, for pages and programs: of a limited size, drawn anew from their pixels.

The file itself is never sent: whatever it holds beside pixels does not reach a browser, and formats that browsers do
not show become JPEG.
"""

from __future__ import annotations

import io
import threading
from collections import OrderedDict
from pathlib import Path
from typing import Protocol

from PIL import Image

from spcl.data.image_decoding import UnreadableImageError, open_image
from spcl.data.stored_images import is_stored
from spcl.serve.failures import RequestError

_MOST_KEPT = 2000
_MOST_KEPT_BYTES = 20_000_000
_QUALITY = 88


class FindsImages(Protocol):
    """Finds the images that may be shown; no others are."""

    def path_of(self, name: str) -> str | None:
        """Give the path of an image by its public name; None: there is none."""


class ShownImages:
    """Draws images of a gallery; the last ones are kept in memory.

    Args:
        ids: Finds the images.
    """

    def __init__(self, ids: FindsImages) -> None:
        self._ids = ids
        self._kept: OrderedDict[tuple[str, int, int, int], bytes] = OrderedDict()
        self._num_bytes = 0
        self._lock = threading.Lock()

    def jpeg(self, name: str, size: int) -> bytes:
        """The image with an id as JPEG, at most ``size`` pixels wide and high. It runs in a thread.

        Raises:
            RequestError: If the gallery has no such image, or its file cannot be read.
        """
        path = self._ids.path_of(name)
        if path is None:
            raise RequestError(404, "no-such-image", f"the gallery has no image {name[:80]!r}")
        try:
            # Objects in cloud storage, and images in archives, are taken not to change.
            stat = None if is_stored(Path(path)) else Path(path).stat()
        except (OSError, ValueError) as error:
            raise _missing(name) from error
        key = (path, size, 0, 0) if stat is None else (path, size, stat.st_size, stat.st_mtime_ns)
        with self._lock:
            if (known := self._kept.get(key)) is not None:
                self._kept.move_to_end(key)
                return known
        drawn = _drawn(Path(path), size, name)
        with self._lock:
            self._kept[key] = drawn
            self._num_bytes += len(drawn)
            while self._num_bytes > _MOST_KEPT_BYTES or len(self._kept) > _MOST_KEPT:
                self._num_bytes -= len(self._kept.popitem(last=False)[1])
        return drawn


def _drawn(path: Path, size: int, name: str) -> bytes:
    try:
        image = open_image(path)
    except UnreadableImageError as error:
        raise _missing(name) from error
    image.thumbnail((size, size), Image.Resampling.LANCZOS)
    written = io.BytesIO()
    image.save(written, format="JPEG", quality=_QUALITY)
    return written.getvalue()


def _missing(name: str) -> RequestError:
    return RequestError(404, "image-file-missing", f"the file of the image {name[:80]!r} cannot be read any more")
