"""A cache on disk for resized images that do not fit in memory: a file of uint8 pixels, filled when images are read.

The file's name is a hash of the paths, sizes and modification times of the images and of the preprocessing, so that
other or changed images use another file. A stopped run loses nothing of it, and processes share it.
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

_PREPROCESSING = "upright, RGB on white, bicubic; 3"
"""Part of the hash; to be changed whenever ``image_decoding.py`` gives other pixels for a file."""


def default_cache_dir() -> Path:
    """The folder in which the system keeps caches."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "spcl"


def open_image_cache(
    folder: Path, paths: Sequence[Path], height: int, width: int, pixel_range: str = "auto"
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Open or create the cache of a list of images.

    Args:
        folder: Folder of the cache files.
        paths: Paths of the images.
        height: Height of the resized images in pixels.
        width: Width of the resized images in pixels.
        pixel_range: Value range of images of more than 8 bits, part of the hash.

    Returns:
        Pixels ``[N, H, W, 3]`` uint8, and ``[N]`` bool, whether those of an image have been written; both are mapped
        from files.

    Raises:
        InputError: If the folder cannot be written to, or its disk is full.
    """
    name = _key(paths, height, width, pixel_range)
    pixels, marks = folder / f"images-{name}.u8", folder / f"images-{name}.done"
    shape = (len(paths), height, width, 3)
    needed = int(np.prod(shape, dtype=np.int64))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not marks.exists() or not pixels.exists():
            free = shutil.disk_usage(folder).free
            # Another process may have reserved the file in the meantime.
            missing = needed - (pixels.stat().st_blocks * 512 if pixels.exists() else 0)
            if missing > 0.95 * free:
                raise InputError(
                    f"the resized images take {needed / 1e9:.1f} GB, and {folder} has {free / 1e9:.1f} GB free; "
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
    """Create a file of zeros whose space on the disk is allocated; several processes may do this at once.

    Otherwise, if the disk is full later, writing to the mapped file would end the process with a signal.
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
            # Not every file system supports the call.
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
                raise
    # Appended, so that nothing is overwritten that another process has written.
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
        # A path may hold bytes that are not UTF-8.
        digest.update(os.fsencode(path.absolute()) + f"\0{state_text}\0".encode())
    return digest.hexdigest()[:20]
