"""The lock of a folder for one program at a time; a program that is killed releases it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from spcl.errors import InputError, first_line


@contextmanager
def held_lock(file: Path, *, longest_wait: float, busy: InputError, place: str) -> Iterator[None]:
    """Hold a lock; a file system without locks lets every program enter.

    Args:
        file: The file of the lock.
        longest_wait: Seconds to wait for another program.
        busy: Raised if another program holds the lock for longer.
        place: What cannot be written to if the lock cannot be made, for the message.

    Raises:
        InputError: ``busy``, or if the file cannot be written.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(file)
    try:
        lock.acquire(timeout=longest_wait)
    except NotImplementedError:
        # This file system has no locks.
        yield
        return
    except Timeout as error:
        raise busy from error
    except OSError as error:
        raise InputError(
            f"cannot write to {place}: {error.strerror or first_line(error)}; change who may write there",
            code="cannot-write",
        ) from error
    try:
        yield
    finally:
        lock.release()
