"""Images that clients enrol: kept as files in the gallery's folder or at its address, then written to its table.

An answered write is on the disk: the file is flushed before its row is written, and the answer is given after the
write of the row. A killed server leaves at most files without rows, which are used when they are sent again.
"""

from __future__ import annotations

import hashlib
import io
import threading
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spcl.atomic_files import written_aside
from spcl.data.cloud_storage import address_of, write_object
from spcl.gallery.columns import described, path_text
from spcl.gallery.gallery import Gallery
from spcl.serve.enrolled_now import EnrolledNow
from spcl.serve.uploads import ENDINGS, Decoded, Upload

FOLDER = "images"
"""Folder in the gallery's folder that holds the files of enrolled images."""


@dataclass(frozen=True)
class NewImages:
    """Images to be enrolled.

    Attributes:
        uploads: The images as they were sent.
        decoded: The decoded images.
        features: ``[n, D]`` unit rows.
        identities: Identity of each image; None: unknown.
        cameras: Camera of each image; None: unknown.
        times: Time of each image as text; None: unknown.
    """

    uploads: Sequence[Upload]
    decoded: Sequence[Decoded]
    features: NDArray[np.float32]
    identities: Sequence[str | None]
    cameras: Sequence[str | None]
    times: Sequence[str | None]


@dataclass(frozen=True)
class Written:
    """Images that are on the disk.

    Attributes:
        paths: Path of each image, in the order given.
        num_added: Number of images that are new in the gallery.
        num_replaced: Number of images that were in the gallery before.
    """

    paths: tuple[str, ...]
    num_added: int
    num_replaced: int


class Enroller:
    """Writes enrolled images, one request after the other.

    Args:
        gallery: The gallery.
        enrolled: The enrolled identities that are kept in memory.
        write_lock: Lock that is held while a request is written.
    """

    def __init__(self, gallery: Gallery, enrolled: EnrolledNow, write_lock: threading.Lock) -> None:
        self._gallery, self._enrolled, self._write_lock = gallery, enrolled, write_lock
        self.num_untidy = 0

    def write(self, new: NewImages) -> Written:
        """Write images to the disk.

        Raises:
            InputError: If a value cannot be used, one image has two identities, or the disk cannot be written to.
        """
        names = [_file_name(upload, image) for upload, image in zip(new.uploads, new.decoded, strict=True)]
        place = self._gallery.path
        root = place if address_of(place) is not None else place.absolute()
        paths = [root / FOLDER / name[:2] / name for name in names]
        table = described(paths, identities=new.identities, cameras=new.cameras, times=new.times)
        self._gallery.check_rows(table)
        for path, upload, image in zip(paths, new.uploads, new.decoded, strict=True):
            if (address := address_of(path)) is not None:
                write_object(address, _content(upload, image))
            elif not path.exists():
                with written_aside(path) as aside:
                    aside.write_bytes(_content(upload, image))
        with self._write_lock:
            added = self._gallery.add_table(table, new.features)
            # Of a file that is sent twice in one request the table has one row; it then counts twice until the
            # identities are computed again.
            named = table.column("identity").to_pylist()
            are_new = added.num_added == len(paths)
            self._enrolled.add(new.features, named, self._gallery.state(), are_new=are_new)
            self.num_untidy += 1
        return Written(tuple(path_text(path) for path in paths), added.num_added, added.num_replaced)

    def tidy(self) -> None:
        """Merge the files of many small writes; searches and writes go on meanwhile."""
        self.num_untidy = 0
        self._gallery.tidy()


def _file_name(upload: Upload, image: Decoded) -> str:
    hashed = hashlib.sha256(upload.data)
    if upload.box is None:
        return hashed.hexdigest() + ENDINGS[image.kind]
    hashed.update(repr(upload.box).encode())
    return hashed.hexdigest() + ".png"


def _content(upload: Upload, image: Decoded) -> bytes:
    """The bytes that are kept: those that were sent, or the part in the box."""
    if upload.box is None:
        return upload.data
    written = io.BytesIO()
    image.image.save(written, format="PNG")
    return written.getvalue()
