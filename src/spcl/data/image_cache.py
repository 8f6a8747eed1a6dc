"""Resized images that do not fit in memory: a file of uint8 pixels, filled as images are first read.

The file's name is a key over the images' paths, sizes and times of change and over the preprocessing: other images, or
changed ones, have another file. A run that is stopped loses nothing of it, and processes share it.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spcl.errors import InputError

_PREPROCESSING = "upright, RGB on white, bicubic; 2"
"""Change it when ``image_decoding.py`` changes what it makes of a file."""


def default_cache_dir() -> Path:
    """Where the system keeps such files."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "spcl"


def open_image_cache(
    folder: Path, paths: Sequence[Path], height: int, width: int, pixel_range: str = "auto"
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Pixels ``[N, H, W, 3]`` uint8 and which of them are there ``[N]`` bool, both mapped from files.

    Raises:
        InputError: If the folder cannot be written to, or its disk has no room.
    """
    name = _key(paths, height, width, pixel_range)
    pixels, marks = folder / f"images-{name}.u8", folder / f"images-{name}.done"
    shape = (len(paths), height, width, 3)
    needed = int(np.prod(shape, dtype=np.int64))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not marks.exists() or not pixels.exists():
            free = shutil.disk_usage(folder).free
            # Another process may have reserved it by now.
            missing = needed - (pixels.stat().st_blocks * 512 if pixels.exists() else 0)
            if missing > 0.95 * free:
                raise InputError(
                    f"the resized images take {needed / 1e9:.1f} GB and {folder} has {free / 1e9:.1f} GB left; "
                    "give a folder on another disk (--cache-dir DIR), or --cache-dir none to decode them each time",
                    code="disk-full",
                )
            _reserve(pixels, needed)
            _reserve(marks, len(paths))
        return (
            np.memmap(pixels, dtype=np.uint8, mode="r+", shape=shape),
            np.memmap(marks, dtype=np.bool_, mode="r+", shape=(len(paths),)),
        )
    except OSError as error:
        raise InputError(
            f"cannot write the image cache in {folder}: {error.strerror or error}; "
            "give another folder (--cache-dir DIR), or --cache-dir none to decode images each time",
            code="cannot-write",
        ) from error


def _reserve(path: Path, size: int) -> None:
    """A file of zeros that has all its room on the disk; several processes may do this at once.

    A mapped file whose disk fills up later would end the process with a signal.
    """
    path.open("ab").close()
    try:
        _allocate(path, size)
    except OSError:
        path.unlink(missing_ok=True)
        raise


def _allocate(path: Path, size: int) -> None:
    if hasattr(os, "posix_fallocate"):
        try:
            with path.open("r+b") as file:
                os.posix_fallocate(file.fileno(), 0, size)
            return
        except OSError as error:
            # Not every file system has the call.
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
                raise
    # Appended, so that nothing is written over that another process has put there.
    with path.open("ab") as file:
        while (missing := size - file.seek(0, os.SEEK_END)) > 0:
            file.write(bytes(min(missing, 2**24)))
            file.flush()


def _key(paths: Sequence[Path], height: int, width: int, pixel_range: str) -> str:
    digest = hashlib.sha256(f"{_PREPROCESSING} {height} x {width} {pixel_range}".encode())
    for path in paths:
        try:
            state = path.stat()
            state_text = f"{state.st_size}\0{state.st_mtime_ns}"
        except OSError:
            state_text = "missing"
        # A path may be bytes that are no text.
        digest.update(os.fsencode(path.absolute()) + f"\0{state_text}\0".encode())
    return digest.hexdigest()[:20]
