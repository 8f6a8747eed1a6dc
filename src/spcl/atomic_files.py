"""Files that are whole or not there: written aside, flushed to the disk, renamed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from spcl.errors import InputError


@contextmanager
def written_aside(path: Path, *, next_step: str = "free some space, or give another place") -> Iterator[Path]:
    """Give a path beside ``path`` to write to; it takes the place of ``path`` when the block ends without an error.

    Whatever happens, ``path`` is the old file or the new one, and nothing else is left. Folders that lead to it are
    made.

    Args:
        path: The file to be.
        next_step: Next step for the user if the file cannot be written.

    Raises:
        InputError: If it cannot be written.
    """
    aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Before the block's work, so that none of it is lost where nothing can be written.
        aside.touch()
        yield aside
        with aside.open("rb+") as file:
            os.fsync(file.fileno())
        aside.replace(path)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}; {next_step}", code="cannot-write") from error
    finally:
        # Where a folder on the way is a file, there is nothing to remove either.
        if aside.parent.is_dir():
            aside.unlink(missing_ok=True)


def check_place(path: Path) -> None:
    """Whether a file can be written, before the work that gives it; nothing is made.

    Raises:
        InputError: If a folder is there, a folder on the way is a file, or there is no permission.
    """
    if path.is_dir():
        raise InputError(f"{path} is a folder; give the name of a file", code="not-a-file")
    check_way(path)


def check_way(path: Path) -> None:
    """Whether a file or a folder can be made at a path that is free, or in a folder that is there; nothing is made.

    Raises:
        InputError: If a folder on the way is a file, or there is no permission.
    """
    folder = next(place for place in (path.absolute(), *path.absolute().parents) if place.exists())
    if folder == path.absolute() and not folder.is_dir():
        folder = folder.parent
    if not folder.is_dir():
        raise InputError(
            f"cannot write {path}: {folder} is a file, not a folder; give another place", code="cannot-write"
        )
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(
            f"cannot write {path}: there is no permission to write in {folder}; give another place", code="cannot-write"
        )
