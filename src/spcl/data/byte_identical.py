"""Copies of images: files that are equal byte for byte."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path


def byte_identical(paths: Sequence[Path]) -> dict[int, int]:
    """Find images whose bytes equal those of an earlier image: by the row of each copy, the row of the first.

    Only files of equal size are read. A file that cannot be read is not a copy.
    """
    by_size: dict[int, list[int]] = {}
    for row, path in enumerate(paths):
        try:
            by_size.setdefault(path.stat().st_size, []).append(row)
        except OSError:
            continue
    copies: dict[int, int] = {}
    for size, rows in by_size.items():
        if len(rows) == 1 or size == 0:
            continue
        first_of: dict[bytes, int] = {}
        for row in rows:
            try:
                with paths[row].open("rb") as file:
                    digest = _digest(file.read)
            except OSError:
                continue
            if first_of.setdefault(digest, row) != row:
                copies[row] = first_of[digest]
    return copies


def _digest(read: Callable[[int], bytes]) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    while part := read(2**20):
        digest.update(part)
    return digest.digest()
