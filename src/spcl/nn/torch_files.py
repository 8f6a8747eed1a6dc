"""Files of torch, read without executing anything: one place for what they may hold and what a broken one raises."""

from __future__ import annotations

import pickle
import re
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from spcl.errors import InputError, first_line

# What torch raises for files that are cut, altered or something else altogether.
_UNREADABLE = (
    RuntimeError,
    EOFError,
    OSError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    AssertionError,
    MemoryError,
    struct.error,
)


def load_torch_file(path: Path, what: str, *, mapped: bool = False) -> Any:
    """Load a file: tensors, plain values, and the NumPy scalar that official checkpoints hold.

    Args:
        path: The file.
        what: It should be, for the error: ``a checkpoint``, say.
        mapped: Tensors lie in the file and are read as they are used: for what is larger than the part that is needed.
            Copy what is kept.

    Raises:
        InputError: If it cannot be read, or holds anything else.
    """
    try:
        with torch.serialization.safe_globals(_numpy_scalar_types()):
            # Only whole files of today's format can be mapped; of others torch says best what they are.
            return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped and zipfile.is_zipfile(path))
    except pickle.UnpicklingError as error:
        # torch names what it refuses in one of several sentences; all have the word before the name.
        refused = re.search(r"(?:GLOBAL|global|class|Unsupported class) ([A-Za-z_]\w*(?:\.\w+)+)", str(error))
        if refused is None:
            raise InputError(f"{path} cannot be read as {what}; is it one?") from error
        raise InputError(
            f"{path} is refused: it holds {refused[1]}. {what.capitalize()} may hold tensors and plain values only; "
            "anything else could run code when it is loaded"
        ) from error
    except _UNREADABLE as error:
        raise InputError(f"{path} cannot be read as {what}: {first_line(error)}") from error


def _numpy_scalar_types() -> list[Any]:
    """What rebuilding a ``numpy.float64`` needs, under NumPy 1's names and NumPy 2's."""
    scalar = np.float64(0).__reduce__()[0]
    types: list[Any] = [np.dtype, type(np.dtype(np.float64)), type(np.dtype(np.float32)), type(np.dtype(np.int64))]
    return [*types, (scalar, "numpy.core.multiarray.scalar"), (scalar, "numpy._core.multiarray.scalar")]
