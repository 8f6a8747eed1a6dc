"""Range checks of settings, one for integers and one for real numbers, with the same messages everywhere."""

from __future__ import annotations

import math
from numbers import Integral, Real


def check_count(value: object, name: str, least: int = 1) -> int:
    """Check that a setting is an integer of at least ``least``, and give it as ``int``.

    Args:
        value: Value of the setting.
        name: Name of the setting in error messages.
        least: Smallest allowed value.

    Raises:
        ValueError: If the value is not an integer, or too small.
    """
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise ValueError(f"{name} is {value!r}; it must be a whole number of at least {least}")
    return int(value)


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
    number = math.nan if isinstance(value, bool) or not isinstance(value, Real) else float(value)
    # Written so that NaN is out of range.
    if not least <= number <= most or (below and number >= most):
        upper = f"below {most:g}" if below else f"at most {most:g}"
        raise ValueError(f"{name} is {value!r}; it must be a number of at least {least:g} and {upper}")
    return number


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
