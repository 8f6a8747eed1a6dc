"""Reading of torch files without executing code: the types that they may contain, and errors for broken files."""

from __future__ import annotations

import argparse
import collections
import datetime
import pickle
import re
import struct
import warnings
from pathlib import Path, PosixPath, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from spcl.errors import InputError, first_line
from spcl.file_kinds import is_safetensors, is_zip, what_it_is

# Errors that torch raises for files that are truncated, altered or of another kind.
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
# Types of values that scripts save with tensors, and of the defaults of a defaultdict.
_PLAIN = [
    argparse.Namespace,
    collections.defaultdict,
    *(bool, int, float, str, list, dict, set),
    *(datetime.date, datetime.datetime, datetime.timedelta, datetime.timezone),
    *(PurePosixPath, PureWindowsPath, PosixPath),
]
_NUMBERS = [
    "bool",
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "float16",
    "float32",
    "float64",
]


def load_torch_file(path: Path, what: str, *, mapped: bool = False) -> Any:
    """Load tensors, plain values, numbers and arrays of NumPy, and command-line arguments from a file.

    Args:
        path: Path of the file; safetensors are recognised whatever the name.
        what: What the file should be, for error messages, for example ``a checkpoint``.
        mapped: Whether tensors stay in the file and are read when they are used, for large files of which a part is
            needed. Copy the tensors that are kept.

    Raises:
        InputError: If the file cannot be read or contains other types; the message has the kind of file and the next
            step.
    """
    try:
        kind = what_it_is(path)
        if kind is not None:
            raise InputError(f"{path} cannot be read as {what}: it is {kind}", code="wrong-file-kind")
        if is_safetensors(path):
            return dict(load_file(path))
        with torch.serialization.safe_globals(_harmless_types()), warnings.catch_warnings():
            # torch warns of pickles of other protocols, also where they can be read.
            warnings.simplefilter("ignore")
            # Only complete files of the zip format can be mapped; for others torch raises the best error.
            return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped and is_zip(path))
    except InputError:
        raise
    except pickle.UnpicklingError as error:
        # torch has several messages for a refused type; each has one of these words before its name.
        refused = re.search(r"(?:GLOBAL|global|class|Unsupported class) '?([A-Za-z_]\w*(?:\.\w+)+)", str(error))
        if refused is None:
            raise InputError(
                f"{path} cannot be read as {what}: it was not written by torch.save, or is damaged; get the file again "
                "(docs/checkpoints.md)",
                code="damaged-file",
            ) from error
        raise InputError(
            f"{path} is refused: it holds {refused[1]}, and loading it could run code; save only its "
            "tensors, net.state_dict() (docs/checkpoints.md)",
            code="unsafe-file",
        ) from error
    except SafetensorError as error:
        raise InputError(
            f"{path} cannot be read as {what}: {first_line(error)}; get the file again", code="damaged-file"
        ) from error
    except _UNREADABLE as error:
        # The advice of torch, to load the file without a check, is not given.
        reason = "it was not written by torch.save" if "weights_only" in str(error) else first_line(error)
        raise InputError(
            f"{path} cannot be read as {what}: {reason.rstrip('.')}; get the file again",
            code="damaged-file",
        ) from error


def _harmless_types() -> list[Any]:
    """The types that numbers and arrays of NumPy need, under the names of NumPy 1 and 2, and plain values."""
    scalar = np.float64(0).__reduce__()[0]
    rebuild = np.zeros(1).__reduce__()[0]
    types: list[Any] = [np.dtype, np.ndarray, *_PLAIN, *{type(np.dtype(name)) for name in _NUMBERS}]
    for module in ("numpy.core.multiarray", "numpy._core.multiarray"):
        types += [(scalar, f"{module}.scalar"), (rebuild, f"{module}._reconstruct")]
    return types
