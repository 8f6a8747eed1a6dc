"""Where the shared reference arrays and real images are, for tests only."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from spcl.errors import InputError

PROJECT_ROOT = Path(__file__).resolve().parents[1]

IMPORT_PATH = os.pathsep.join([str(PROJECT_ROOT), str(PROJECT_ROOT / "src")])
"""For programs that tests start: they import the tests, and the project as it is here, whatever is installed."""


def shared_path(*parts: str) -> Path:
    """The path of a shared file or folder; skips the test where it is not at hand."""
    root = Path(os.environ.get("SPCL_SHARED", PROJECT_ROOT.parent / "shared"))
    path = root.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"needs {'/'.join(parts)} of the shared folder (set SPCL_SHARED to where it is)")
    return path


def slow_but(values: Iterable[Any], *fast: Any) -> list[Any]:
    """Parameters of which ``make test`` takes the named ones alone: the others are marked slow."""
    listed = list(values)
    assert all(value in listed for value in fast), f"{fast} are not all among {listed}"
    return [value if value in fast else pytest.param(*_tuple(value), marks=pytest.mark.slow) for value in listed]


def _tuple(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)


@contextmanager
def input_error(code: str, named: str = "") -> Iterator[pytest.ExceptionInfo[InputError]]:
    """Expect an ``InputError`` with this code, whose message contains the value that is named."""
    with pytest.raises(InputError, match=re.escape(named) or None) as error:
        yield error
    assert error.value.code == code
