"""What one image is: the file that a path leads to, by whatever spelling or link.

The key of an image compares; the path of an image is what is kept and shown. Names of files and folders carry identity
and camera, so that a path is made absolute but its links are not resolved.
"""

# Path objects cost several times as much as strings, which counts for a million images.
# ruff: noqa: PTH100, PTH114, PTH118

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from spcl.errors import InputError


def image_key(path: str | Path) -> str:
    """The key of one image: its path with every link followed. A file that is not there has a key, too.

    Two paths lead to one image exactly where their keys are equal. Hard links and copies are images of their own: their
    content would have to be compared.
    """
    return os.path.realpath(path)


def image_keys(paths: Sequence[str | Path]) -> list[str]:
    """The keys of many images, in their order, as ``image_key`` gives them; each folder is resolved once."""
    real_folders: dict[str, str] = {}
    keys = []
    for path in paths:
        folder, name = os.path.split(os.fspath(path))
        if name in ("", ".", "..") or os.path.islink(path):
            keys.append(os.path.realpath(path))
            continue
        if folder not in real_folders:
            real_folders[folder] = os.path.realpath(folder)
        keys.append(os.path.join(real_folders[folder], name))
    return keys


def kept_path(path: str | Path) -> Path:
    """The path as it is kept in records and tables: absolute, without ``.`` and ``..``, its links not resolved.

    A ``..`` behind a link to a folder means the folder above the link's target: there the link is resolved.
    """
    text = os.fspath(path)
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
    """What a user gave as a path.

    Raises:
        InputError: If it is empty: a variable of the shell without a value would mean the current folder.
    """
    if not str(text).strip():
        raise InputError("which images? The name that is given is empty; give . for the current folder")
    return Path(text)


def shown_path(path: str | Path) -> str:
    """The path as it is shown on a terminal: relative to the current folder where it lies below it."""
    try:
        return str(kept_path(path).relative_to(Path.cwd()))
    except (ValueError, OSError):  # the current folder may have been deleted
        return str(path)
