"""Writes to a gallery beside other writers: tried again after a lost race, one at a time where they first read."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from spcl.errors import InputError, first_line

T = TypeVar("T")

_ATTEMPTS = 8
_LOCK = ".lock"
_LONGEST_WAIT = 900.0


class LostRaceError(InputError):
    """Others wrote to the gallery each time before a write was done."""


def until_won(write: Callable[[], T]) -> T:
    """Try a write again while others come first: each try starts from their version.

    Raises:
        LostRaceError: If others came first every time.
        InputError: If the disk did not take it.
    """
    for attempt in range(_ATTEMPTS):
        try:
            return write()
        except (ValueError, RuntimeError, OSError) as error:
            if "conflict" not in str(error).lower():
                _name_the_disk(error)
                raise
            time.sleep(random.uniform(0, 0.02 * 2**attempt))
    raise LostRaceError("others write to this gallery all the time; try again when they are done")


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Let no other program enter this block for the same gallery; a killed one leaves it by its end.

    For writes that depend on rows which they have read. Where the disk knows no locks, all enter.

    Raises:
        LostRaceError: If another stays in it for a quarter of an hour.
        InputError: If the folder cannot be written to.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(folder / _LOCK)
    try:
        lock.acquire(timeout=_LONGEST_WAIT)
    except NotImplementedError:
        yield
        return
    except Timeout as error:
        raise LostRaceError(f"another program has been writing to {folder} for a quarter of an hour") from error
    except OSError as error:
        raise InputError(f"cannot write to the gallery {folder}: {error.strerror or first_line(error)}") from error
    try:
        yield
    finally:
        lock.release()


def _name_the_disk(error: Exception) -> None:
    """Raise an ``InputError`` where the store says that the disk did not take a write; what was there is there."""
    found = re.search(r"LanceError\(IO\): (.*?) \(os error \d+\)", str(error))
    if found:
        raise InputError(
            f"cannot write to the gallery: {found[1]}; free some space, or make the gallery elsewhere. What was in it "
            "before this write is whole"
        ) from error
