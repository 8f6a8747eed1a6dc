"""The error for listed images that do not exist, with what the first path suggests."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from spcl.data.image_key import shown_path
from spcl.errors import InputError


def missing_images(name: str, num_missing: int, num: int, first: Path, notes: Sequence[str]) -> InputError:
    """The error for listed images that are missing.

    Args:
        name: Name of the source.
        num_missing: Number of images that are missing.
        num: Number of listed images.
        first: Path of the first missing image.
        notes: Notes on the tables; those on how paths are read are repeated.
    """
    hints = [note for note in notes if " is read as " in note]
    if "\n" in str(first):
        hints.append("That path contains a line break: is a quote in the table not closed?")
    if re.search(r"(^|/)[A-Za-z]:/", str(first)):
        hints.append("Paths that begin with a drive letter are those of a Windows computer; give relative paths.")
    if re.search(r"\.[A-Za-z]{3,4}[ \t]+-?\w+$", str(first)):
        hints.append(
            "Each line of a list is one path and nothing else; a table with the columns path, identity has both."
        )
    return InputError(
        f"{name}: {num_missing} of {num} listed images are missing, first {shown_path(first)}. "
        f"Paths in a table are relative to its folder, or to the current folder. {' '.join(hints)}".strip(),
        code="missing-images",
    )
