"""The lock of a run's folder: one program trains in it at a time, and the second reads who does.

The lock is the system's, on the file ``.running`` in the folder: a killed program releases it. Where the disk has no
locks, the process that the file names is looked for on this machine.
"""

from __future__ import annotations

import errno
import getpass
import json
import os
import socket
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import IO, Any

from spcl.errors import InputError
from spcl.nested_text import json_of

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None  # type: ignore[assignment]

LOCK_FILE = ".running"

_held: dict[Path, IO[str]] = {}


def hold_run(folder: Path) -> None:
    """Take the lock of a run's folder, until ``release_run`` or the end of the process.

    A process that holds it already keeps it.

    Args:
        folder: Folder of the run; it exists.

    Raises:
        InputError: If another process holds the lock; names the process.
        OSError: If the folder cannot be written to.
    """
    place = folder.resolve()
    if place in _held:
        return
    path = place / LOCK_FILE
    while True:
        file = path.open("a+", encoding="utf-8")
        try:
            if not _locked(file):
                raise _in_use(folder, _owner_in(file))
            # Between opening and locking, the owner may have removed the file and another program made a new one.
            if _is_at(file, path):
                break
        except BaseException:
            file.close()
            raise
        file.close()
    file.truncate(0)
    json.dump(_this_process(), file)
    file.flush()
    _held[place] = file


def refuse_run_in_use(folder: Path) -> None:
    """Raise the error of ``hold_run`` early, before images are read; nothing is created or kept.

    Raises:
        InputError: If another process holds the lock of the folder.
    """
    path = folder / LOCK_FILE
    if folder.resolve() in _held or not path.exists():
        return
    with suppress(OSError), path.open("r+", encoding="utf-8") as file:
        if not _locked(file):
            raise _in_use(folder, _owner_in(file))


def release_run(folder: Path) -> None:
    """Release the lock of a run's folder, if this process holds it."""
    file = _held.pop(folder.resolve(), None)
    if file is not None:
        with suppress(OSError):
            (folder.resolve() / LOCK_FILE).unlink(missing_ok=True)
        file.close()


def _locked(file: IO[str]) -> bool:
    """Whether this process has the lock of an open file now."""
    if fcntl is not None:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except OSError as error:
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                return False
    owner = _owner_in(file)
    return owner is None or owner.get("machine") != socket.gethostname() or not _runs(owner.get("process"))


def _is_at(file: IO[str], path: Path) -> bool:
    """Whether an open file is the one that a path names."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _runs(process: Any) -> bool:
    import psutil

    return isinstance(process, int) and process != os.getpid() and psutil.pid_exists(process)


def _owner_in(file: IO[str]) -> dict[str, Any] | None:
    file.seek(0)
    try:
        owner = json_of(file.read(4096))
    except (ValueError, RecursionError):
        return None
    return owner if isinstance(owner, dict) else None


def _this_process() -> dict[str, Any]:
    try:
        user = getpass.getuser()
    except (KeyError, OSError, ImportError):  # a container whose user has no name
        user = "unknown"
    now = datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
    return {"process": os.getpid(), "machine": socket.gethostname(), "user": user, "since": now}


def _in_use(folder: Path, owner: dict[str, Any] | None) -> InputError:
    who = "another program"
    if owner is not None:
        process, machine, user, since = (owner.get(name) for name in ("process", "machine", "user", "since"))
        who = f"process {process} of {user} on {machine}, since {since},"
    return InputError(
        f"{who} trains in {folder}; wait until it has ended, or give another --logs-dir", code="run-in-use"
    )
