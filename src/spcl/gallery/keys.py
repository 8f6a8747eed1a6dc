"""Keys of images: which rows of a gallery are the same image, whichever spelling or link of its path is given.

By path, an image is its resolved path (``spcl.data.image_key``). By content, it is the SHA-256 of its file's bytes, so
that copies are one image. A name that is neither a file nor an absolute path is its own key: features may have any
names. The column ``path`` is absolute and keeps links, because file and folder names contain camera and identity.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from stat import S_ISREG
from typing import TYPE_CHECKING, Literal, NamedTuple

import pyarrow as pa

from spcl.data.cloud_storage import address_of
from spcl.data.image_key import image_keys, kept_path
from spcl.data.stored_images import is_stored, stored_bytes
from spcl.errors import InputError
from spcl.gallery.columns import KEY, path_text

if TYPE_CHECKING:
    from spcl.gallery.snapshot import Snapshot

KeyBy = Literal["path", "content"]
KEYS: tuple[KeyBy, ...] = ("path", "content")

_BLOCK = 2**20


class Keyed(NamedTuple):
    """Images with their keys.

    Attributes:
        keys: Key of each image.
        paths: Path of each image, in the form that a gallery keeps.
    """

    keys: list[str]
    paths: list[str]


class OwnImages(NamedTuple):
    """The images that the queries are, which are left out of what is found for them.

    Attributes:
        keys: Key of the own image of each query.
        rule: The gallery's rule, for rows of format 1, which have no keys: they are known by their paths.
    """

    keys: list[str]
    rule: ImageKeys

    @staticmethod
    def column(snapshot: Snapshot) -> str:
        """The column that ``of_rows`` needs."""
        return KEY if snapshot.has_keys else "path"

    def of_rows(self, snapshot: Snapshot, values: list[str]) -> list[str]:
        """The keys of rows, from their values in ``column``."""
        return values if snapshot.has_keys else self.rule.of(values).keys


class ImageKeys:
    """Keys of images by one rule; the hash of a file is computed again only if the file has changed.

    Args:
        by: What identifies an image: ``path``, its file with links followed; ``content``, its bytes.
    """

    def __init__(self, by: KeyBy = "path") -> None:
        if by not in KEYS:
            raise InputError(
                f"the key of an image is {by!r}; expected {' or '.join(KEYS)}", code="setting-out-of-range"
            )
        self.by = by
        self._contents: dict[tuple[str, int, int], str] = {}

    def of(self, names: Sequence[str]) -> Keyed:
        """Give the keys of images, from their paths or other names."""
        files = [row for row, name in enumerate(names) if _is_file(name)]
        keys = list(names)
        paths = list(names)
        for row in files:
            paths[row] = path_text(kept_path(names[row]))
        for row, key in zip(files, image_keys([names[row] for row in files]), strict=True):
            keys[row] = self._content(key) if self.by == "content" else key
        return Keyed(keys, paths)

    def _content(self, path: str) -> str:
        """The hash of a file's bytes; the path of a file that cannot be read."""
        try:
            if is_stored(Path(path)):
                return f"sha256:{hashlib.sha256(stored_bytes(Path(path))).hexdigest()}"
            stat = Path(path).stat()
            if not S_ISREG(stat.st_mode):  # a pipe could be waited for without end
                return path
            known = (path, stat.st_size, stat.st_mtime_ns)
            if known not in self._contents:
                hashed = hashlib.sha256()
                with Path(path).open("rb") as file:
                    while block := file.read(_BLOCK):
                        hashed.update(block)
                self._contents[known] = f"sha256:{hashed.hexdigest()}"
            return self._contents[known]
        except OSError:
            return path


def check_identities_agree(table: pa.Table, keys: Sequence[str]) -> None:
    """Raise an ``InputError`` if one image is given twice with different identities."""
    identities = table.column("identity").to_pylist()
    first: dict[str, int] = {}
    for row, (key, identity) in enumerate(zip(keys, identities, strict=True)):
        if identity is None:
            continue
        other = first.setdefault(key, row)
        if identities[other] != identity:
            paths = table.column("path")
            raise InputError(
                f"one image has two identities: {identities[other]!r} as {paths[other].as_py()} (image {other + 1}), "
                f"{identity!r} as {paths[row].as_py()} (image {row + 1}); give the image one identity",
                code="identity-contradiction",
            )


def _is_file(name: str) -> bool:
    # An absolute path is a file, even if its disk is not mounted.
    try:
        path = Path(name)
        return path.is_absolute() or address_of(name) is not None or path.is_file()
    except (OSError, ValueError):
        return False
