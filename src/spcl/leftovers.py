"""Names of temporary files and folders, and the removal of those that killed processes left.

A name carries the machine, the process and the process's start: ``.groups.csv.5f1c09ab-4711-65a0f3c2-0.tmp``. A
temporary file is removed only if its process ran on this machine and is dead. On a shared disk, those of another
machine are kept.
"""

from __future__ import annotations

import itertools
import os
import re
import shutil
import socket
import zlib
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

_OURS = re.compile(
    r"\..*\.(?P<machine>[0-9a-f]{8})-(?P<process>\d+)-(?P<start>[0-9a-f]+)-\d+\.(?P<ending>\w+)", re.DOTALL
)
_LONGEST_NAME = 255
# Two readings of the start of one process differ if the clock was set in between.
_CLOCK_SECONDS = 120
_numbers = itertools.count()


def aside_of(path: Path, ending: str = "tmp") -> Path:
    """Give a temporary name beside a path, which no other process and no other call has.

    Args:
        path: Path of a file or folder; a long name is shortened to fit.
        ending: Ending of the temporary name; files that end in ``tmp`` are removed once their process is dead.
    """
    mark = f".{_owner(os.getpid())}-{next(_numbers)}.{ending}"
    name = os.fsencode(path.name)[: _LONGEST_NAME - len(mark) - 1]
    return path.with_name(f".{name.decode(errors='ignore')}{mark}")


def remove_leftovers(path: Path) -> None:
    """Remove temporary files and folders of dead processes beside a path that is about to be written.

    Files of earlier versions, ``.NAME.PROCESS.tmp``, are removed for the name of this path alone.

    Cost: one listing of the folder.
    """
    for entry in leftovers_in(path.parent, path.name):
        remove(entry)


def leftovers_in(folder: Path, name: str = "") -> list[Path]:
    """List the temporary files and folders of dead processes in a folder; empty if it cannot be listed.

    Args:
        folder: Folder to list.
        name: Name of a file of which the temporary files of earlier versions are listed, too.
    """
    try:
        hidden = [entry for entry in folder.iterdir() if entry.name.startswith(".") and entry.name.endswith(".tmp")]
    except OSError:
        return []
    return [entry for entry in hidden if is_left(entry.name, name)]


def is_left(entry: str, name: str = "", ending: str = "tmp") -> bool:
    """Whether a name is that of a temporary file of a dead process.

    Args:
        entry: Name of a file or folder.
        name: Name of the file to be written, for temporary files of earlier versions.
        ending: Ending of the temporary names to look for.
    """
    found = _OURS.fullmatch(entry)
    if found is not None and found["ending"] == ending:
        is_here = found["machine"] == _machine()
        return is_here and not _runs(int(found["process"]), int(found["start"], 16))
    earlier = re.fullmatch(re.escape(f".{name}.") + r"(\d+)\.tmp", entry) if name else None
    return earlier is not None and not _runs(int(earlier[1]), None)


def remove(entry: Path) -> None:
    """Remove a file, a link, or a folder with its content; what cannot be removed stays."""
    with suppress(OSError):  # also a name that is too long
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            entry.unlink(missing_ok=True)


@lru_cache(maxsize=1)
def _owner(process: int) -> str:
    import psutil

    return f"{_machine()}-{process}-{int(psutil.Process(process).create_time()):x}"


@lru_cache(maxsize=1)
def _machine() -> str:
    """A number of the machine and, on Linux, of the container: another container has other process numbers."""
    spaces = ""
    with suppress(OSError):
        spaces = str(Path("/proc/self/ns/pid").readlink())
    return f"{zlib.crc32(f'{socket.gethostname()} {spaces}'.encode()):08x}"


def _runs(process: int, start: int | None) -> bool:
    """Whether a process runs; a process that began at another time has only the number of a dead one."""
    import psutil

    try:
        began = psutil.Process(process).create_time()
    except psutil.NoSuchProcess:
        return False
    except psutil.Error:
        return True
    return start is None or abs(began - start) < _CLOCK_SECONDS
