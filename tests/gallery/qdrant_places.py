"""Folders for Qdrant's local mode in tests: in memory where the system has such a place, for each row is a commit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from spcl.gallery.qdrant.connection import close_clients

_IN_MEMORY = Path("/dev/shm")


@contextmanager
def local_folder() -> Iterator[Path]:
    """A folder for ``qdrant-local:FOLDER/COLLECTION``, which is closed and removed at the end."""
    with TemporaryDirectory(dir=_IN_MEMORY if _IN_MEMORY.is_dir() else None) as folder:
        try:
            yield Path(folder)
        finally:
            close_clients(folder)
