"""Data files that a failed or killed write left in a gallery's table: no version of the table uses them.

LanceDB removes them only after a week. A write that fails here removes its own at once; those of killed programs are
removed when the gallery is tidied, if they are older than an hour. While another program writes, nothing is removed:
every write holds a shared lock, and the removal an exclusive one, which the system releases when a program is killed.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from spcl.gallery.folder import TABLE
from spcl.leftovers import remove

_LOCK = ".writing"
_DATA = "data"
_VERSIONS = "_versions"
_SECONDS = 3600


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """A block that writes to the table; if it fails, the data files that it left are removed."""
    before = _files_in(folder)
    try:
        with _locked(folder, alone=False):
            yield
    except BaseException:
        remove_left(folder, keep=before)
        raise


def remove_left(folder: Path, *, keep: frozenset[str] | None = None) -> list[str]:
    """Remove data files that no version uses, unless another program writes.

    Args:
        folder: Folder of the gallery.
        keep: Names of data files to keep; None: those of the last hour.

    Returns:
        The names of the files that were removed.
    """
    with _locked(folder, alone=True) as is_locked:
        if not is_locked:
            return []
        data = folder / f"{TABLE}.lance" / _DATA
        unused = _unused(folder, _files_in(folder) - (keep or frozenset()))
        if keep is None:
            unused = [name for name in unused if _age(data / name) > _SECONDS]
        for name in unused:
            remove(data / name)
        return unused


def _unused(folder: Path, names: frozenset[str]) -> list[str]:
    """Those of some data files whose name is in no version; none of them if a version cannot be read."""
    if not names:
        return []
    waiting = set(names)
    try:
        versions = list((folder / f"{TABLE}.lance" / _VERSIONS).iterdir())
        for version in versions:
            content = version.read_bytes()
            waiting = {name for name in waiting if name.encode() not in content}
    except OSError:
        return []
    return sorted(waiting) if versions else []


def _files_in(folder: Path) -> frozenset[str]:
    try:
        return frozenset(entry.name for entry in (folder / f"{TABLE}.lance" / _DATA).iterdir())
    except OSError:
        return frozenset()


def _age(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except OSError:
        return 0.0


@contextmanager
def _locked(folder: Path, *, alone: bool) -> Iterator[bool]:
    """Hold the lock of writes; False where others hold it, or the file system has no locks."""
    try:
        import fcntl

        file = (folder / _LOCK).open("a")
    except (ImportError, OSError):
        yield False
        return
    with file:
        is_locked = False
        with suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB if alone else fcntl.LOCK_SH)
            is_locked = True
        yield is_locked
