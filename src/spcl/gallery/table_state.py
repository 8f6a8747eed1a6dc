"""A name for the state of a gallery's table, by which files that were computed from the table are found out of date.

``enrolment_file.py`` and ``rows_file.py`` keep such files.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from spcl.data.image_cache import default_cache_dir
from spcl.gallery.folder import FORMAT, TABLE

_VERSIONS = "_versions"
_SUFFIX = ".manifest"


class GalleryFacts(NamedTuple):
    """What opening a gallery reads of its table.

    Attributes:
        facts: Facts that were stored when the gallery was made.
        dim: Length of a vector.
    """

    facts: dict[str, Any]
    dim: int


def state_of(folder: Path) -> str | None:
    """A name for the state of a gallery's table, which changes with every write; None where it cannot be listed.

    Call it before the table is read: if another program writes meanwhile, the name is then that of the older state.
    """
    try:
        with os.scandir(folder / f"{TABLE}.lance" / _VERSIONS) as entries:
            files = [(entry.name, entry.stat()) for entry in entries if entry.name.endswith(_SUFFIX)]
    except OSError:
        return None
    if not files:
        return None
    listed = sorted((name, stat.st_size, stat.st_mtime_ns) for name, stat in files)
    return hashlib.sha256(json.dumps(listed).encode()).hexdigest()


def holds_for(about: Mapping[str, Any], layout: int, state: str | None) -> bool:
    """Whether a file was computed from the table as it is now, and has the layout that this version reads.

    Args:
        about: Values that the file contains: ``layout``, ``facts`` and ``state``.
        layout: The layout that is read.
        state: State of the table as it is now.
    """
    is_known = about["layout"] == layout and about["facts"].get("format") == FORMAT
    return bool(is_known and state is not None and about["state"] == state)


def cache_of(address: str) -> Path:
    """Folder of this machine for files that are computed from a gallery that is elsewhere; it need not exist."""
    return default_cache_dir() / "galleries" / hashlib.sha256(address.encode()).hexdigest()[:32]
