"""Numbers of the formats of the files that spcl writes, so that a file of a newer version is recognised as such.

A file without a number has format 1: version 0.1.0 wrote none, except into galleries. A format gets a new number when
an earlier version would misread the file; a new entry that an earlier version may leave out is no new format.
"""

from __future__ import annotations

from typing import Any, Final

from spcl._version import __version__
from spcl.errors import InputError

KEY: Final = "format"
"""Name of the entry with the number."""

CHECKPOINT, CALIBRATION, FEATURES, GROUPS = 1, 1, 1, 1
RUN = 2
"""The saved state of a run (``resume.pt``): 2 has one entry for each part of the run."""
GALLERY = 2
"""A gallery: 2 has a key for each row."""
QDRANT_GALLERY = 1
"""A gallery in Qdrant."""


def check_format(value: object, known: int, place: object) -> int:
    """Check the number of a file's format before the rest of the file is read.

    Args:
        value: The entry ``KEY`` of the file; None: it has none, which is format 1.
        known: Newest format that this version reads.
        place: The file or the folder, for the message.

    Returns:
        The number.

    Raises:
        InputError: If a newer version of spcl wrote the file, or the entry is no number of a format.
    """
    if value is None:
        return 1
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise InputError(
            f"{place} has the format {str(value)[:60]!r}; expected a whole number from 1 on; get the file again",
            code="damaged-file",
        )
    if value > known:
        raise InputError(
            f"{place} was written by a newer spcl (format {value}); this one ({__version__}) reads up to {known}: "
            "upgrade with pip install --upgrade spcl",
            code="version-not-supported",
        )
    return value


def unstamped(values: Any, known: int, place: object) -> dict[str, Any]:
    """Check the format of plain values, and give them without its number."""
    found = dict(values)
    check_format(found.pop(KEY, None), known, place)
    return found
