"""Names of objects that have no name of their own yet: ``new-1``, ``new-2`` and so on.

The numbers of a gallery are never used again: the first free number is one above the highest that the gallery has.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_PROVISIONAL = re.compile(r"new-(\d{1,9})")


def provisional_name(number: int) -> str:
    """Give the name of an unnamed object, ``new-7``."""
    return f"new-{number}"


def is_provisional(name: str) -> bool:
    """Whether a name is ``new-`` and a number.

    Examples:
        >>> is_provisional("new-7"), is_provisional("new-dog")
        (True, False)
    """
    return _PROVISIONAL.fullmatch(name) is not None


def first_free_number(names: Iterable[str]) -> int:
    """Give the number after the highest one of provisional names; 1 if there is none.

    Examples:
        >>> first_free_number(["Bella", "new-2", "new-10"])
        11
    """
    numbers = [int(found[1]) for name in names if (found := _PROVISIONAL.fullmatch(name))]
    return max(numbers, default=0) + 1
