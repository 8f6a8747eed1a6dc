"""Parsing of times: one parser for tables, galleries and filters, which never guesses.

Text is ISO 8601 (``2026-03-01``, ``2026-03-01T12:00:00.5+01:00``), the format of EXIF (``2026:03:01 12:00:00``) or the
format that the user gives; numbers are Unix seconds or milliseconds, if the whole column is numeric. Anything else is
an error, because a wrong guess is months off and looks right: 01.03.2026 is 1 March or 3 January.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from numbers import Real
from typing import Any

from spcl.data.placeholders import is_missing, is_placeholder
from spcl.errors import InputError

_CLOCK = r"(?P<hour>\d{2}):(?P<minute>\d{2})(?::(?P<second>\d{2})(?:[.,](?P<fraction>\d{1,9}))?)?"
_ZONE = r"\s?(?P<zone>Z|UTC|[+-]\d{2}(?::?\d{2})?)?"
_FORMS = tuple(
    re.compile(form)
    for form in (
        rf"(?P<year>\d{{4}})-(?P<month>\d{{2}})-(?P<day>\d{{2}})(?:[Tt ]{_CLOCK}{_ZONE})?",
        rf"(?P<year>\d{{4}}):(?P<month>\d{{2}}):(?P<day>\d{{2}})(?: {_CLOCK}{_ZONE})?",
        r"(?P<year>\d{4})(?P<month>\d{2})(?P<day>\d{2})T(?P<hour>\d{2})(?P<minute>\d{2})"
        rf"(?:(?P<second>\d{{2}})(?:[.,](?P<fraction>\d{{1,9}}))?)?{_ZONE}",
    )
)
_ENDS_WITH_ZONE = re.compile(r"[Tt ].*(?:Z|UTC|[+-]\d{2}(?::?\d{2})?)$")
_LENGTH_OF_A_DATE = len("2026-03-01")
_PARTS = ("year", "month", "day", "hour", "minute", "second")
_NUMBER = re.compile(r"[-+]?\d+(\.\d+)?([eE][-+]?\d+)?")
_NO_CLOCK_SET = re.compile(r"0{4}[:-]0{2}[:-]0{2}([T ]0{2}:0{2}:0{2})?|[ :]+")
"""Times of cameras whose clock was never set."""

_DIGITS_OF_A_TIME = frozenset("123456789")
"""A text that begins with one of these is neither a word for "unknown" nor the time of an unset clock."""

_EPOCH = datetime(1970, 1, 1)
_SECONDS, _MILLISECONDS = (1e8, 1e10), (1e11, 1e13)
"""From March 1973 to November 2286; 20260301 and frame numbers are outside."""

ACCEPTED = "ISO 8601 (2026-03-01 12:00:00), EXIF (2026:03:01 12:00:00), Unix seconds or milliseconds"
"""The formats that are read without ``--time-format``, for messages."""


def as_time(value: object, time_format: str = "") -> datetime | None:
    """Parse a time; a time with a zone is converted to UTC, and a date means its midnight.

    Args:
        value: Text, ``datetime``, ``date``, a NumPy or pandas time; None, empty text, placeholders (``n/a``) and
            the zeros of a camera whose clock was never set are unknown.
        time_format: Format of text, with the codes of ``strptime``; empty: ISO 8601 or the format of EXIF.

    Returns:
        The time without a zone, in whole microseconds; None where it is unknown.

    Raises:
        ValueError: If the value is not a time in these formats.
    """
    if isinstance(value, str):
        text = value.strip()
        if is_unknown_time(text):
            return None
        return _without_zone(datetime.strptime(text, time_format) if time_format else _parsed(text))
    if is_missing(value):
        return None
    if hasattr(value, "to_pydatetime"):
        # A pandas time; its nanoseconds are cut off.
        return _without_zone(value.floor("us").to_pydatetime(warn=False))  # type: ignore[attr-defined]
    if isinstance(value, datetime):
        return _without_zone(value)
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day)
    if type(value).__name__ == "datetime64":
        moment = value.astype("datetime64[us]").item()  # type: ignore[attr-defined]
        if isinstance(moment, datetime):
            return moment
    raise ValueError(f"{value!r} is not a time")


def times_of(values: Sequence[Any], place: Callable[[int], str], time_format: str = "") -> list[datetime | None]:
    """Parse a column of times.

    Args:
        values: Values as for ``as_time``; or only numbers (also as text), which are Unix seconds or milliseconds.
        place: Gives the place of a row for an error: ``lambda row: f"row {row + 1}"``.
        time_format: Format of times, as in ``as_time``.

    Returns:
        A time for each value, None where it is unknown.

    Raises:
        InputError: If a value is not a time; the message has its place and value, and shows ``--time-format``. If
            some texts have a time zone and others have none.
    """
    known = [row for row, value in enumerate(values) if not _is_unknown(value)]
    if known and not time_format and all(_is_number(values[row]) for row in known):
        return _unix_times(values, known, place)
    times: list[datetime | None] = [None] * len(values)
    for row in known:
        value = _digits(values[row], time_format) if time_format and _is_number(values[row]) else values[row]
        try:
            times[row] = as_time(value, time_format)
        except (ValueError, OverflowError) as error:
            if not time_format and _is_number(value):
                text = next(row for row in known if not _is_number(values[row]))
                raise _no_time(
                    place(row), value, "", f"a number in a column with text ({values[text]!r} in {place(text)})"
                ) from error
            raise _no_time(place(row), value, time_format) from error
    if not time_format:
        _check_zones(values, known, place)
    return times


def _check_zones(values: Sequence[Any], known: Sequence[int], place: Callable[[int], str]) -> None:
    """Raise an ``InputError`` if some texts have a time zone and others have none: these would be hours apart."""
    with_zone: int | None = None
    without: int | None = None
    for row in known:
        value = values[row]
        # A date alone has no zone, and is not compared by the hour.
        if not isinstance(value, str) or len(text := value.strip()) <= _LENGTH_OF_A_DATE:
            continue
        if _ENDS_WITH_ZONE.search(text):
            with_zone = row if with_zone is None else with_zone
        elif without is None:
            without = row
        if with_zone is not None and without is not None:
            raise InputError(
                f"the column 'time' holds {values[with_zone]!r} in {place(with_zone)}, with a time zone, and "
                f"{values[without]!r} in {place(without)}, without one: the hours between them are not known. Write a "
                "time zone in all cells of the column (+01:00, Z), or in none",
                code="mixed-time-zones",
            )


def is_unknown_time(text: str) -> bool:
    """Whether a text means an unknown time: empty, a placeholder, or the zeros of a clock that was never set."""
    if text[:1] in _DIGITS_OF_A_TIME:
        return False
    return not text.strip() or is_placeholder(text) or _NO_CLOCK_SET.fullmatch(text.strip()) is not None


def _parsed(text: str) -> datetime:
    found = next((match for form in _FORMS if (match := form.fullmatch(text))), None)
    if found is None:
        raise ValueError(f"{text!r} is not a time; expected {ACCEPTED}")
    part = found.groupdict()
    fraction = int((part["fraction"] or "").ljust(6, "0")[:6])
    year, month, day, hour, minute, second = (int(part[name] or 0) for name in _PARTS)
    moment = datetime(year, month, day, hour, minute, second, fraction)
    return moment.replace(tzinfo=_zone(part["zone"])) if part["zone"] else moment


def _zone(text: str) -> timezone:
    if text in ("Z", "UTC"):
        return timezone.utc
    digits = text[1:].replace(":", "").ljust(4, "0")
    offset = timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
    return timezone(-offset if text[0] == "-" else offset)


def _without_zone(moment: datetime) -> datetime:
    return moment if moment.tzinfo is None else moment.astimezone(timezone.utc).replace(tzinfo=None)


def _is_unknown(value: object) -> bool:
    return is_unknown_time(value) if isinstance(value, str) else is_missing(value)


def _is_number(value: object) -> bool:
    if isinstance(value, str):
        return _NUMBER.fullmatch(value.strip()) is not None
    return isinstance(value, Real | Decimal) and not isinstance(value, bool)


def _digits(number: object, time_format: str) -> str:
    """A number as text; 20260301.0, which pandas writes where cells are missing, as 20260301."""
    text = str(number).strip()
    return text.partition(".")[0] if re.fullmatch(r"\d+\.0+", text) and "." not in time_format else text


def _unix_times(values: Sequence[Any], known: Sequence[int], place: Callable[[int], str]) -> list[datetime | None]:
    numbers = {row: float(values[row]) for row in known}
    for low, high in (_SECONDS, _MILLISECONDS):
        if all(low <= number < high for number in numbers.values()):
            unit = 1e6 if high == _SECONDS[1] else 1e3
            return [
                _EPOCH + timedelta(microseconds=round(numbers[row] * unit)) if row in numbers else None
                for row in range(len(values))
            ]
    # The unit of the column is that of its first number.
    low, high = next((unit for unit in (_SECONDS, _MILLISECONDS) if unit[0] <= numbers[known[0]] < unit[1]), (0, 0))
    row = next(row for row in known if not low <= numbers[row] < high)
    raise _no_time(place(row), values[row], "")


def _no_time(place: str, value: object, time_format: str, reason: str = "which is not a time") -> InputError:
    if time_format:
        return InputError(
            f"the column 'time' holds {value!r} in {place}, which does not have the format {time_format!r}; "
            "give the format of the whole column with --time-format, or correct the cell",
            code="not-a-time",
        )
    return InputError(
        f"the column 'time' holds {value!r} in {place}, {reason}: expected {ACCEPTED}. For times in another "
        "format give it: --time-format '%d.%m.%Y %H:%M' reads 23.11.2026 17:45",
        code="not-a-time",
    )
