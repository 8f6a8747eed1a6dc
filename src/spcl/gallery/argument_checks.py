"""Checks of the arguments of a gallery's methods."""

from __future__ import annotations

from collections.abc import Sized

from spcl.errors import InputError
from spcl.settings_checks import check_count


def required_count(value: object, name: str) -> int:
    """Give a setting that is a whole number of at least 1.

    Raises:
        InputError: If it is not.
    """
    try:
        return check_count(value, name)
    except ValueError as error:
        raise InputError(str(error), code="setting-out-of-range") from error


def require_as_many(queries: Sized, given: Sized, what: str) -> None:
    """Raise an ``InputError`` unless there is one of something for each query."""
    if len(queries) != len(given):
        raise InputError(
            f"there are {len(queries)} queries, and {len(given)} {what}; expected as many", code="length-mismatch"
        )
