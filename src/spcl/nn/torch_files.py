"""Reading of torch files without executing code: which types they may hold, and the errors of broken files."""

from __future__ import annotations

import argparse
import collections
import datetime
import pickle
import re
import struct
import warnings
import zipfile
from pathlib import Path, PosixPath, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from spcl.errors import InputError, first_line
from spcl.file_kinds import is_safetensors, what_it_is

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
# Values that scripts save beside tensors, and what a defaultdict may be made with.
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
    """Load a file: tensors, plain values, NumPy's numbers and arrays, and the arguments that scripts save with them.

    Args:
        path: Path of the file; safetensors are recognised whatever the name.
        what: What the file should be, for error messages, for example ``a checkpoint``.
        mapped: Whether tensors stay in the file and are read when they are used, for large files of which a part is
            needed. Copy the tensors that are kept.

    Raises:
        InputError: If the file cannot be read, or holds other types; the message says what it is and what to do.
    """
    try:
        kind = what_it_is(path)
        if kind is not None:
            raise InputError(f"{path} cannot be read as {what}: it is {kind}", code="wrong-file-kind")
        if is_safetensors(path):
            return dict(load_file(path))
        with torch.serialization.safe_globals(_harmless_types()), warnings.catch_warnings():
            # Of pickles of other protocols, which may be read or not: the error says it.
            warnings.simplefilter("ignore")
            # Only whole files of today's format can be mapped; of others torch says best what they are.
            return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped and zipfile.is_zipfile(path))
    except InputError:
        raise
    except pickle.UnpicklingError as error:
        # torch names what it refuses in one of several sentences; all have the word before the name.
        refused = re.search(r"(?:GLOBAL|global|class|Unsupported class) '?([A-Za-z_]\w*(?:\.\w+)+)", str(error))
        if refused is None:
            raise InputError(
                f"{path} cannot be read as {what}: it is no file that torch.save wrote, or a damaged one. Fetch it "
                "again, or, if another program pickled it and you trust it, load it there and save its tensors with "
                "torch.save",
                code="damaged-file",
            ) from error
        raise InputError(
            f"{path} is refused: it holds {refused[1]}. {what[0].upper()}{what[1:]} may hold tensors and plain values "
            f"only; anything else could run code when it is loaded. {_next_step(path)}",
            code="unsafe-file",
        ) from error
    except SafetensorError as error:
        raise InputError(
            f"{path} cannot be read as {what}: {first_line(error)}; is it whole?", code="damaged-file"
        ) from error
    except _UNREADABLE as error:
        # torch's own advice, to load it without a check, is not ours.
        reason = "it is no file that torch.save wrote" if "weights_only" in str(error) else first_line(error)
        raise InputError(
            f"{path} cannot be read as {what}: {reason.rstrip('.')}; is it whole? Fetch it again",
            code="damaged-file",
        ) from error


def _next_step(path: Path) -> str:
    """Describe the next step for a file that holds objects: if its source is trusted, save its tensors alone."""
    return (
        "If you trust where it comes from, save its tensors alone, where the program that wrote it is installed: "
        f'net = torch.load("{path.name}", weights_only=False), then torch.save(net.state_dict(), "weights.pth") where '
        'it is a whole network, or torch.save(net["state_dict"], "weights.pth") where it is a dictionary'
    )


def _harmless_types() -> list[Any]:
    """What rebuilding NumPy's numbers and arrays needs, under NumPy 1's names and NumPy 2's, and other plain values."""
    scalar = np.float64(0).__reduce__()[0]
    rebuild = np.zeros(1).__reduce__()[0]
    types: list[Any] = [np.dtype, np.ndarray, *_PLAIN, *{type(np.dtype(name)) for name in _NUMBERS}]
    for module in ("numpy.core.multiarray", "numpy._core.multiarray"):
        types += [(scalar, f"{module}.scalar"), (rebuild, f"{module}._reconstruct")]
    return types
