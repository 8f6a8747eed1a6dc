"""Atomic writing of files: to a temporary file, flushed to the disk, then renamed."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from spcl.errors import InputError


@contextmanager
def written_aside(path: Path, *, next_step: str = "free some space, or give another place") -> Iterator[Path]:
    """Give the path of a temporary file, which replaces ``path`` when the block ends without an error.

    Missing parent folders are created. After an error or a stop ``path`` is unchanged; the temporary file is removed,
    and so are the folders that were created here and are empty.

    Args:
        path: Path of the file to write.
        next_step: Next step for the user if the file cannot be written.

    Raises:
        InputError: If the file cannot be written.
    """
    aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    missing = missing_folders(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Before the work of the block, which would be lost if the file could not be written.
        aside.touch()
        yield aside
        with aside.open("rb+") as file:
            os.fsync(file.fileno())
        aside.replace(path)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}; {next_step}", code="cannot-write") from error
    finally:
        # If a parent is a file and no folder, there is nothing to remove.
        if aside.parent.is_dir():
            aside.unlink(missing_ok=True)
        remove_empty(missing)


def missing_folders(path: Path) -> list[Path]:
    """The folders above a path that do not exist, the deepest first."""
    return [folder for folder in path.parents if not folder.exists()]


def remove_empty(folders: Sequence[Path]) -> None:
    """Remove folders, the deepest first, up to the first that is not empty."""
    with suppress(OSError):
        for folder in folders:
            if folder.exists():
                folder.rmdir()


def check_place(path: Path) -> None:
    """Check that a file can be written, before the work that computes it; nothing is created.

    Raises:
        InputError: If the path is a folder, one of its parents is a file, or there is no permission to write.
    """
    if path.is_dir():
        raise InputError(f"{path} is a folder; give the name of a file", code="not-a-file")
    check_way(path)


def check_way(path: Path) -> None:
    """Check that a file or a folder can be created at a path; nothing is created.

    Raises:
        InputError: If one of its parents is a file, or there is no permission to write.
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
