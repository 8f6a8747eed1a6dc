"""What is asked of an export before anything is loaded: the version of the operators, and a free place for the file."""

from __future__ import annotations

from pathlib import Path

from spcl.errors import InputError

DEFAULT_OPSET = 18
"""Version of ONNX's operators."""


def refuse_existing(path: Path, *, overwrite: bool) -> None:
    """Is the place free?

    Raises:
        InputError: If a file is there and may not be replaced, or a folder is.
    """
    if path.is_dir():
        raise InputError(f"{path} is a folder; give the name of a file", code="not-a-file")
    if path.exists() and not overwrite:
        raise InputError(
            f"{path} is there already; give another name, or --overwrite to replace it", code="file-exists"
        )
