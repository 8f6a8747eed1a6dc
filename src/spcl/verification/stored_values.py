"""Checks of the values of a calibration that was read from a checkpoint or a file, before anything is computed."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

_MOST_VALUES = 100_000
_LARGEST = sys.float_info.max


def check_number(value: Any, name: str, low: float = -math.inf, high: float = math.inf) -> None:
    """Raise a ``ValueError`` unless a value is a finite number in a range, both ends included."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not -_LARGEST <= value <= _LARGEST:
        raise ValueError(f"{name} is {_shown(value)}; expected a finite number")
    if not low <= value <= high:
        raise ValueError(f"{name} is {value!r}; expected {low:g} to {high:g}")


def check_whole(value: Any, name: str, low: int = 0) -> None:
    """Raise a ``ValueError`` unless a value is a whole number from ``low`` on."""
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value < 2**63:
        raise ValueError(f"{name} is {_shown(value)}; expected a whole number from {low} on")


def check_kind(value: Any, kind: type, name: str) -> None:
    """Raise a ``ValueError`` unless a value is of a type."""
    if not isinstance(value, kind):
        raise ValueError(f"{name} is {_shown(value)}; expected {kind.__name__}")


def check_numbers(
    values: Any,
    name: str,
    *,
    length: int | None = None,
    most: int = _MOST_VALUES,
    low: float = -math.inf,
    high: float = math.inf,
) -> None:
    """Raise a ``ValueError`` unless values are a sequence of finite numbers in a range.

    Args:
        values: The values.
        name: Name of the values in the message.
        length: Number of values; None: at least one.
        most: Largest number of values that is allowed.
        low: Smallest value that is allowed.
        high: Largest value that is allowed.
    """
    if not isinstance(values, Sequence) or isinstance(values, str) or not 0 < len(values) <= most:
        raise ValueError(f"{name} is {_shown(values)}; expected a list of 1 to {most} numbers")
    if length is not None and len(values) != length:
        raise ValueError(f"{name} has {len(values)} values; expected {length}")
    for value in values:
        check_number(value, name, low, high)


def check_rising(values: Sequence[float], name: str, *, strictly: bool = False) -> None:
    """Raise a ``ValueError`` unless numbers do not fall; ``strictly``: unless each is above the one before."""
    pairs = pairwise(values)
    if any(second < first or (strictly and second == first) for first, second in pairs):
        raise ValueError(f"{name} are not in ascending order")


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:60] + " ..."
