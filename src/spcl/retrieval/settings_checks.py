"""Are settings in range? One check for whole numbers, one for real ones: the same words everywhere."""

from __future__ import annotations

import math
from numbers import Integral, Real


def check_count(value: object, name: str, least: int = 1) -> int:
    """A whole number of at least ``least``, as ``int``.

    Raises:
        ValueError: If it is something else.
    """
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise ValueError(f"{name} is {value!r}; it must be a whole number of at least {least}")
    return int(value)


def check_range(value: object, name: str, least: float, most: float, *, below: bool = False) -> float:
    """A number from ``least`` to ``most``, as ``float``.

    Args:
        value: The setting.
        name: What an error calls it.
        least: The smallest that is allowed.
        most: The largest that is allowed.
        below: ``most`` itself is not allowed.

    Raises:
        ValueError: If it is something else; NaN is.
    """
    number = math.nan if isinstance(value, bool) or not isinstance(value, Real) else float(value)
    # Written so that NaN is out of range.
    if not least <= number <= most or (below and number >= most):
        upper = f"below {most:g}" if below else f"at most {most:g}"
        raise ValueError(f"{name} is {value!r}; it must be a number of at least {least:g} and {upper}")
    return number


def check_scales(eps: object, eps_gap: object) -> tuple[float, float]:
    """The three scales of the clustering, ``eps - eps_gap``, ``eps`` and ``eps + eps_gap``, as numbers in range.

    Raises:
        ValueError: If ``eps`` or ``eps_gap`` is no number, or a scale is out of range.
    """
    middle, gap = check_range(eps, "eps", 0, 1, below=True), check_range(eps_gap, "eps_gap", 0, 1, below=True)
    if middle - gap < 0 or middle + gap >= 1:
        raise ValueError(
            f"eps is {eps} and eps_gap is {eps_gap}; eps - eps_gap must be at least 0 and eps + eps_gap below 1, "
            "because Jaccard distances lie between 0 and 1"
        )
    return middle, gap
