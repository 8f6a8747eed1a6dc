"""The key of an image: two paths are one image where they lead to one file, by whatever spelling or link.

Keys are compared; paths are kept and shown. Names of files and folders contain identity and camera, so a path is made
absolute, but its links are not resolved.
"""

# Path objects cost several times as much as strings, which counts for a million images.
# ruff: noqa: PTH100, PTH114, PTH118

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from spcl.data.cloud_storage import address_of
from spcl.errors import InputError
from spcl.printable import printable_name

_ASKED_ONE_BY_ONE, _LISTED_FOR_ONE = 20, 20
"""A folder is listed if at least 20 of its files are checked, and it has at most 20 times as many files."""


def image_key(path: str | Path) -> str:
    """Give the key of an image: its path with every link resolved. A missing file has a key too.

    Two paths lead to one image exactly where their keys are equal. Hard links and copies are separate images: their
    content would have to be compared.
    """
    return address_of(path) or os.path.realpath(path)


def image_keys(paths: Sequence[str | Path]) -> list[str]:
    """Give the keys of many images, in order, equal to those of ``image_key``; each folder is resolved once."""
    addresses = {row: address for row, path in enumerate(paths) if (address := address_of(path))}
    if addresses:
        others = iter(image_keys([path for row, path in enumerate(paths) if row not in addresses]))
        return [addresses[row] if row in addresses else next(others) for row in range(len(paths))]
    parts = [_folder_and_name(os.fspath(path)) for path in paths]
    real_folders: dict[str, str] = {}
    links: dict[str, set[str] | None] = {}
    for folder, number in Counter(folder for folder, _ in parts).items():
        real_folders[folder] = os.path.join(os.path.realpath(folder), "")
        links[folder] = _links_in(folder, number)
    keys = []
    for folder, name in parts:
        known = links[folder]
        is_link = os.path.islink(os.path.join(folder, name)) if known is None else name in known
        if is_link or name in ("", ".", ".."):
            keys.append(os.path.realpath(os.path.join(folder, name)))
        else:
            keys.append(real_folders[folder] + name)
    return keys


def _folder_and_name(path: str) -> tuple[str, str]:
    if os.altsep:
        return os.path.split(path)
    # Several times as fast, for a million images.
    folder, slash, name = path.rpartition(os.sep)
    return folder or slash, name


def _links_in(folder: str, number: int) -> set[str] | None:
    """List the names of the links in a folder; None where checking ``number`` files one by one costs less."""
    if number < _ASKED_ONE_BY_ONE:
        return None
    links = set()
    try:
        with os.scandir(folder or ".") as entries:
            for count, entry in enumerate(entries):
                if count > _LISTED_FOR_ONE * number:
                    return None
                if entry.is_symlink():
                    links.add(entry.name)
    except OSError:
        return None
    return links


def kept_path(path: str | Path) -> Path:
    """Give a path as it is kept in records and tables: absolute, without ``.`` and ``..``, its links not resolved.

    A ``..`` after a link to a folder means the folder above the target of the link, so such a link is resolved.
    """
    text = os.fspath(path)
    if address_of(text) is not None:
        return Path(text)
    plain = os.path.abspath(text)
    if plain == text and isinstance(path, Path):
        return path
    if ".." in text and ".." in (parts := Path(path).parts):
        last = len(parts) - parts[::-1].index("..")
        before = os.path.realpath(Path(*parts[:last]))
        if os.path.realpath(os.path.abspath(Path(*parts[:last]))) != before:
            return Path(before, *parts[last:])
    return Path(plain)


def named_path(text: str | Path) -> Path:
    """Give the path of a text that the user gave.

    Raises:
        InputError: If it is empty, as an unset variable of the shell is: it would mean the current folder.
    """
    if not str(text).strip():
        raise InputError("the name of the images is empty; give . for the current folder", code="empty-name")
    return Path(text)


def shown_path(path: str | Path) -> str:
    """Give a path as it is shown to the user: relative to the current folder if it lies below it.

    Control characters in names are shown as escapes.
    """
    if (address := address_of(path)) is not None:
        return printable_name(address)
    try:
        return printable_name(str(kept_path(path).relative_to(Path.cwd())))
    except (ValueError, OSError):  # the current folder may have been deleted
        return printable_name(str(path))
