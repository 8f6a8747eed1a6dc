"""Atomic writing of files: to a temporary file, flushed to the disk, then renamed."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import wraps
from pathlib import Path
from typing import Concatenate, ParamSpec, Protocol, TypeVar

from spcl.errors import InputError, first_line
from spcl.leftovers import aside_of, remove, remove_leftovers

P = ParamSpec("P")
_OF_DISKS = (errno.EIO, errno.ENXIO, errno.ENODEV, getattr(errno, "ESTALE", errno.EIO), errno.ETIMEDOUT)
"""Errors of a disk that fails or has gone, also one of the network."""

W = TypeVar("W", bound="WritesTo")


@contextmanager
def written_aside(path: Path, *, next_step: str = "free some space, or give another place") -> Iterator[Path]:
    """Give the path of a temporary file, which replaces ``path`` when the block ends without an error.

    Missing parent folders are created. After an error or a stop ``path`` is unchanged; the temporary file is removed,
    and so are the folders that were created here and are empty. Temporary files of killed processes are removed first.

    Args:
        path: Path of the file to write.
        next_step: Next step for the user if the disk is full.

    Raises:
        InputError: If the file cannot be written.
    """
    aside, missing = begin_aside(path, next_step=next_step)
    try:
        yield aside
        flush(aside)
        aside.replace(path)
    except OSError as error:
        raise cannot_write(path, error, next_step) from error
    finally:
        remove(aside)
        remove_empty(missing)


def begin_aside(path: Path, *, next_step: str = "free some space, or give another place") -> tuple[Path, list[Path]]:
    """Create an empty temporary file beside a path, and the missing folders above it.

    Called before the work that computes the content, which would be lost if the file could not be written.

    Args:
        path: Path of the file to write.
        next_step: Next step for the user if the disk is full.

    Returns:
        The temporary file, and the folders that were created, the deepest first.

    Raises:
        InputError: If it cannot be created; then no folder is created either.
    """
    missing: list[Path] = []
    try:
        missing = missing_folders(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            # The temporary name is shortened where needed; the name itself may be too long for the disk.
            path.lstat()
        remove_leftovers(path)
        aside = aside_of(path)
        aside.touch()
    except OSError as error:
        remove_empty(missing)
        raise cannot_write(path, error, next_step) from error
    return aside, missing


def flush(path: Path) -> None:
    """Wait until the content of a file is on the disk."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def cannot_write(path: Path, error: OSError, next_step: str = "free some space, or give another place") -> InputError:
    """The error for a file or folder that cannot be written, with the next step for its cause.

    Args:
        path: Path of the file or folder.
        error: Error of the system.
        next_step: Next step for the user if the disk is full.
    """
    if error.errno == errno.ENAMETOOLONG:
        next_step = "give a shorter name"
    elif error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        next_step = "give another place, or change who may write there"
    elif error.errno in (errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.EINVAL):
        next_step = "give another place"
    elif error.errno == errno.EFBIG:
        next_step = "give another place, where files may be larger"
    elif error.errno in _OF_DISKS:
        next_step = "check the disk or the network, or give another place"
    # Libraries write more around the words of the system.
    reason = os.strerror(error.errno) if error.errno else first_line(error)
    return InputError(f"cannot write {path}: {reason}; {next_step}", code="cannot-write")


class WritesTo(Protocol):
    """An object that writes to a file."""

    _path: Path


def raises_input_errors(method: Callable[Concatenate[W, P], None]) -> Callable[Concatenate[W, P], None]:
    """Let a method of a writer raise an ``InputError`` with the name of its file if the file cannot be written."""

    @wraps(method)
    def named(writer: W, /, *args: P.args, **kwargs: P.kwargs) -> None:
        try:
            method(writer, *args, **kwargs)
        except OSError as error:
            raise cannot_write(writer._path, error) from error

    return named


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
        InputError: If the path is a folder, its name is too long, one of its parents is a file, or there is no
            permission to write.
    """
    check_way(path)
    if path.is_dir():
        raise InputError(f"{path} is a folder; give the name of a file", code="not-a-file")


def check_way(path: Path) -> None:
    """Check that a file or a folder can be created at a path; nothing is created.

    Raises:
        InputError: If one of its parents is a file, a name is too long, links lead in a circle, or there is no
            permission to write.
    """
    with suppress(FileNotFoundError, NotADirectoryError):
        try:
            path.stat()
        except (FileNotFoundError, NotADirectoryError):
            raise
        except OSError as error:
            raise cannot_write(path, error) from error
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
