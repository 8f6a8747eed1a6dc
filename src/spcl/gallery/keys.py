"""The key of a gallery's row: what one image is, by whatever spelling of its path it is given.

By path, an image is its resolved path (``spcl.data.image_key``). By content, it is the SHA-256 of its file's bytes, so
that copies are one image. A name that is neither a file nor an absolute path is its own key: features may have any
names. ``path`` is what is kept for people: absolute, links not resolved, as names of files carry camera and identity.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import pyarrow as pa

from spcl.data.image_key import image_keys, kept_path
from spcl.errors import InputError

KeyBy = Literal["path", "content"]
KEYS: tuple[KeyBy, ...] = ("path", "content")

_BLOCK = 2**20


class Keyed(NamedTuple):
    """Images with their keys.

    Attributes:
        keys: One for each.
        paths: Of each, as a gallery keeps it.
    """

    keys: list[str]
    paths: list[str]


class ImageKeys:
    """Keys of images by one rule; what was read of a file is remembered while the file stays as it is.

    Args:
        by: ``path`` or ``content``.
    """

    def __init__(self, by: KeyBy = "path") -> None:
        if by not in KEYS:
            raise InputError(f"the key of an image is {by!r}; expected {' or '.join(KEYS)}")
        self.by = by
        self._contents: dict[tuple[str, int, int], str] = {}

    def of(self, names: Sequence[str]) -> Keyed:
        """The keys of images by their paths, or of other names."""
        files = [row for row, name in enumerate(names) if _is_file(name)]
        keys = list(names)
        paths = list(names)
        for row in files:
            paths[row] = kept_path(names[row]).as_posix()
        for row, key in zip(files, image_keys([names[row] for row in files]), strict=True):
            keys[row] = self._content(key) if self.by == "content" else key
        return Keyed(keys, paths)

    def _content(self, path: str) -> str:
        """The hash of a file's bytes; of a file that cannot be read, its path."""
        try:
            stat = Path(path).stat()
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
    """Raise an ``InputError`` where one image is given twice, with two identities."""
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
                f"{identity!r} as {paths[row].as_py()} (image {row + 1}); give it one of them"
            )


def _is_file(name: str) -> bool:
    # An absolute path names a file also while the disk is not there that it is on.
    try:
        path = Path(name)
        return path.is_absolute() or path.is_file()
    except (OSError, ValueError):
        return False
