"""The disk of a folder: whether files can be written, read, renamed and locked there, its speed and its free space."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

from spcl.doctor.findings import Finding
from spcl.errors import InputError, first_line
from spcl.file_lock import held_lock

_SIZE = 32 * 2**20
_LITTLE_SPACE = 2 * 10**9
_SLOW = 20e6


def disk(folder: Path) -> Finding:
    """Write, read, rename and lock small files in a folder; they are removed again.

    Args:
        folder: The folder, in which runs and galleries are to be written.
    """
    values: dict[str, Any] = {"folder": str(folder.absolute())}
    if not folder.is_dir():
        return Finding("disk", "failed", f"there is no folder {folder}", "make it, or give another folder", values)
    free = shutil.disk_usage(folder).free
    values["free_bytes"] = int(free)
    if free < 2 * _SIZE:
        text = f"{folder}: the disk is full ({free / 1e6:.0f} MB are free)"
        return Finding("disk", "failed", text, "free some space, or give another folder", values)
    try:
        with tempfile.TemporaryDirectory(prefix=".spcl-doctor-", dir=folder) as place:
            values |= _speeds(Path(place))
            _rename(Path(place))
            values["links"] = _can_link(Path(place))
            values["locks"] = _can_lock(Path(place))
    except OSError as error:
        reason = error.strerror or first_line(error)
        text = f"{folder}: files cannot be written and renamed there ({reason})"
        return Finding("disk", "failed", text, "change who may write there, or give another folder", values)
    text = (
        f"{folder}: {free / 1e9:.1f} GB are free, {values['write_bytes_per_second'] / 1e6:.0f} MB/s are written and "
        f"{values['read_bytes_per_second'] / 1e6:.0f} MB/s read; files can be renamed"
        + (", linked" if values["links"] else "")
        + (" and locked" if values["locks"] else "")
    )
    if not values["locks"]:
        step = "let one program at a time write to a run or a gallery there, or give a folder on a local disk"
        return Finding("disk", "note", f"{text}. Files cannot be locked there", step, values)
    if free < _LITTLE_SPACE:
        return Finding("disk", "note", text, "free some space: a training writes up to 1 GB", values)
    if values["write_bytes_per_second"] < _SLOW:
        return Finding("disk", "note", text, "it is slow: give a folder on another disk", values)
    return Finding("disk", "ok", text, "", values)


def _speeds(place: Path) -> dict[str, float]:
    """Bytes a second that are written until they are on the disk, and read; what was just written may be in memory."""
    content = os.urandom(_SIZE)
    begun = time.perf_counter()
    with (place / "written").open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    written = time.perf_counter()
    if (place / "written").read_bytes() != content:
        raise OSError("what was written is not what is read")
    ended = time.perf_counter()
    return {
        "write_bytes_per_second": _SIZE / max(written - begun, 1e-9),
        "read_bytes_per_second": _SIZE / max(ended - written, 1e-9),
    }


def _rename(place: Path) -> None:
    """Replace a file and a folder by renaming, as every output is put in place."""
    (place / "aside").write_bytes(b"new")
    (place / "aside").replace(place / "written")
    if (place / "written").read_bytes() != b"new":
        raise OSError("a file that was renamed has other bytes")
    (place / "folder").mkdir()
    (place / "folder").rename(place / "renamed")


def _can_link(place: Path) -> bool:
    try:
        (place / "link").symlink_to(place / "written")
        return (place / "link").read_bytes() == b"new"
    except OSError:
        return False


def _can_lock(place: Path) -> bool:
    """Whether a lock that is held keeps another holder out."""
    lock = place / ".lock"
    busy = InputError("it is held", code="gallery-in-use")
    held = {"longest_wait": 0.0, "busy": busy, "place": str(place)}
    try:
        with held_lock(lock, **held):  # type: ignore[arg-type]
            try:
                with held_lock(lock, **held):  # type: ignore[arg-type]
                    return False
            except InputError as error:
                return error is busy
    except InputError:
        return False
