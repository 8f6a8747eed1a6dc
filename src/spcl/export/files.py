"""Default version of ONNX's operators, and the check that a file can be written; neither loads torch."""

from __future__ import annotations

from pathlib import Path

from spcl.errors import InputError

DEFAULT_OPSET = 18
"""Version of ONNX's operators."""


def refuse_existing(path: Path, *, overwrite: bool) -> None:
    """Check that a file can be written to a path.

    Raises:
        InputError: If a file exists there and may not be replaced, or the path is a folder.
    """
    if path.is_dir():
        raise InputError(f"{path} is a folder; give the name of a file", code="not-a-file")
    if path.exists() and not overwrite:
        raise InputError(
            f"{path} exists already; give another name, or --overwrite to replace it", code="already-exists"
        )
