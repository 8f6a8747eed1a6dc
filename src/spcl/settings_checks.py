"""Range checks of settings, one for integers and one for real numbers, with the same messages everywhere."""

from __future__ import annotations

import math
from numbers import Integral, Real

_LARGEST = 2**63 - 1
"""Larger whole numbers do not fit into the arrays of NumPy and torch."""


def check_count(value: object, name: str, least: int = 1) -> int:
    """Check that a setting is an integer of at least ``least``, and give it as ``int``.

    Args:
        value: Value of the setting.
        name: Name of the setting in error messages.
        least: Smallest allowed value.

    Raises:
        ValueError: If the value is not an integer, or too small, or too large for 64 bits.
    """
    number = least - 1 if isinstance(value, bool) or not isinstance(value, Integral) else int(value)
    if number < least:
        raise ValueError(f"{name} is {value!r}; it must be a whole number of at least {least}")
    if number > _LARGEST:
        raise ValueError(f"{name} is {value!r}; it must be a whole number of at most {_LARGEST}")
    return number


def is_auto(value: object) -> bool:
    """Whether a setting is the word ``auto``; an array is compared as a whole."""
    return isinstance(value, str) and value == "auto"


def check_range(value: object, name: str, least: float, most: float, *, below: bool = False) -> float:
    """Check that a setting is a number from ``least`` to ``most``, and give it as ``float``.

    Args:
        value: Value of the setting.
        name: Name of the setting in error messages.
        least: Smallest allowed value.
        most: Largest allowed value.
        below: Whether ``most`` itself is excluded.

    Raises:
        ValueError: If the value is not a number, is NaN, or is out of range.
    """
    number = number_of(value)
    # Written so that NaN is out of range.
    if not least <= number <= most or (below and number >= most):
        upper = f"below {most:g}" if below else f"at most {most:g}"
        raise ValueError(f"{name} is {value!r}; it must be a number of at least {least:g} and {upper}")
    return number


def check_positive(value: object, name: str) -> float:
    """Check that a setting is a positive, finite number, and give it as ``float``.

    Raises:
        ValueError: If the value is not a number, is NaN, infinite, or not above 0.
    """
    number = number_of(value)
    if not 0 < number < math.inf:
        raise ValueError(f"{name} is {value!r}; it must be a positive number")
    return number


def number_of(value: object) -> float:
    """Give a real number as ``float``; NaN for what is none, infinity for what is too large."""
    if isinstance(value, bool) or not isinstance(value, Real):
        return math.nan
    try:
        return float(value)
    except OverflowError:
        return math.inf


def check_scales(eps: object, eps_gap: object) -> tuple[float, float]:
    """Check the three scales of the clustering, ``eps - eps_gap``, ``eps`` and ``eps + eps_gap``.

    Raises:
        ValueError: If ``eps`` or ``eps_gap`` is not a number, or a scale is out of range.
    """
    middle, gap = check_range(eps, "eps", 0, 1, below=True), check_range(eps_gap, "eps_gap", 0, 1, below=True)
    if middle - gap < 0 or middle + gap >= 1:
        raise ValueError(
            f"eps is {eps} and eps_gap is {eps_gap}; eps - eps_gap must be at least 0 and eps + eps_gap below 1, "
            "because Jaccard distances lie between 0 and 1"
        )
    return middle, gap
