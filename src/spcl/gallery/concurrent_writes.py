"""Writes to a gallery while other programs write: repeated after a conflict, or one program at a time behind a lock."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from spcl.errors import InputError
from spcl.file_lock import held_lock

T = TypeVar("T")

_ATTEMPTS = 8
_LOCK = ".lock"
_LONGEST_WAIT = 900.0


class LostRaceError(InputError):
    """Another program wrote to the gallery during every attempt to write."""


def until_won(write: Callable[[], T]) -> T:
    """Repeat a write until no other program writes at the same time; each attempt starts from the newest version.

    Raises:
        LostRaceError: If another program wrote during every attempt.
        InputError: If the disk is full or cannot be written to.
    """
    for attempt in range(_ATTEMPTS):
        try:
            return write()
        except (ValueError, RuntimeError, OSError) as error:
            if "conflict" not in str(error).lower():
                _raise_if_disk_error(error)
                raise
            time.sleep(random.uniform(0, 0.02 * 2**attempt))
    raise LostRaceError(
        "other programs wrote to this gallery during every attempt to write; try again when they have finished",
        code="gallery-busy",
    )


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold the lock of a gallery for writes that depend on rows which they read before; a killed program releases it.

    A file system without locks lets every program enter.

    Raises:
        LostRaceError: If another program holds the lock for a quarter of an hour.
        InputError: If the folder cannot be written to.
    """
    busy = LostRaceError(
        f"another program has been writing to {folder} for a quarter of an hour",
        code="gallery-busy",
    )
    with held_lock(folder / _LOCK, longest_wait=_LONGEST_WAIT, busy=busy, place=f"the gallery {folder}"):
        yield


def _raise_if_disk_error(error: Exception) -> None:
    """Raise an ``InputError`` if an error of LanceDB says that the disk could not be written to."""
    found = re.search(r"LanceError\(IO\): (.*?) \(os error \d+\)", str(error))
    if found:
        raise InputError(
            f"cannot write to the gallery: {found[1]}; free some space, or make the gallery elsewhere. Earlier writes "
            "are not damaged",
            code="cannot-write",
        ) from error
