"""Filters of a gallery's images: parsed, checked against the columns, and translated for LanceDB.

A filter is SQL with three additions. A camera or an identity may be written as a number (``camera != 3``), although
both are text. A time is written as text (``time >= '2026-01-01 08:00'``). An existing path is made absolute, as a
gallery holds it (``path = 'gate/1.jpg'``, ``path like 'gate/%'``). Only literals that are compared with a column are
changed; LanceDB parses the rest.

``camera > 3`` becomes the list of the cameras above 3, if the gallery's cameras are known: an index can look up the
list, but a comparison of numbers would convert the text of every row.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import pyarrow as pa

from spcl.data.image_key import kept_path
from spcl.data.time_parsing import as_time
from spcl.errors import InputError
from spcl.gallery.columns import TIME, VECTOR, column_kind
from spcl.gallery.filter_tokens import ARITHMETIC, Token, token_of, tokens_of

_ORDERED = ("<", ">", "<=", ">=", "between")
_COMPARED: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    ">": operator.gt,
    "<=": operator.le,
    ">=": operator.ge,
}
_TURNED = {"<": ">", ">": "<", "<=": ">=", ">=": "<="}
_CAMERA = "camera"
_PATH = "path"
_PLAIN_DIGITS = re.compile(r"-?\d+")
_PLAIN_NUMBER = re.compile(r"-?\d+(\.\d+)?")
_MOST_LISTED = 1000


_SHOWN = 200


def checked_filter(where: str, schema: pa.Schema, cameras: Callable[[], Sequence[str]] | None = None) -> str:
    """Parse and check a user's filter.

    Args:
        where: The filter, for example ``camera != 3 and time >= '2026-01-01 08:00'``.
        schema: Schema of the gallery's table.
        cameras: Function that lists the gallery's cameras; called if their numbers are compared. None: unknown.

    Returns:
        The filter with its literals in the types of their columns.

    Raises:
        InputError: If it cannot be parsed, or a value does not have the type of its column; the message lists the
            columns.
    """
    if not where.strip():
        raise InputError(f"the filter is empty; {known_columns(schema)}", code="invalid-filter")
    tokens = _tokens(where, schema)
    if cameras is not None:
        tokens = _cameras_listed(tokens, cameras)
    types = {field.name.lower(): field.type for field in schema}
    rewritten = [token.text for token in tokens]
    compared = _compared_with(tokens, types)
    for at, token in enumerate(tokens):
        if token.kind not in ("text", "number"):
            continue
        if token.kind == "text" and _is_pattern_of_paths(tokens, at):
            rewritten[at] = quoted(_absolute_pattern(_plain(token)))
            continue
        place, comparison = compared[at]
        if place is None:
            continue
        column = tokens[place]
        rewritten[at] = _literal(token, column, types[column.word], comparison, where, schema)
        is_number = re.fullmatch(r"[-+.\deE]+", rewritten[at]) is not None
        if is_number and types[column.word] == pa.string():
            # As text, "10" is less than "9".
            rewritten[place] = f"try_cast({column.text} as double)"
        elif is_number and types[column.word] == pa.int64() and not _PLAIN_DIGITS.fullmatch(rewritten[at]):
            rewritten[place] = f"cast({column.text} as double)"
    return " ".join(rewritten)


def not_cameras(cameras: Iterable[str]) -> str | None:
    """The filter that leaves out some cameras, but no image of unknown camera; None if no camera is given."""
    listed = ", ".join(quoted(camera) for camera in cameras)
    return f"(camera is null or camera not in ({listed}))" if listed else None


def both(first: str | None, second: str | None) -> str | None:
    """The filter of the images that pass both filters; None is no filter."""
    if first is None or second is None:
        return first or second
    return f"({first}) and ({second})"


def quoted(text: str) -> str:
    """Write text as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def known_columns(schema: pa.Schema) -> str:
    """List the columns of a gallery with their types, for an error message."""
    listed = ", ".join(f"{field.name} ({column_kind(field.type)})" for field in schema if field.name != VECTOR)
    return f"the columns are {listed}"


def invalid_filter(where: str, reason: str, schema: pa.Schema) -> InputError:
    """Make the error for a filter that cannot be used."""
    shown = where if len(where) <= _SHOWN else where[:_SHOWN] + " ..."
    return InputError(
        f"the filter {shown!r} cannot be used: {reason}; {known_columns(schema)}. "
        "Write for example: camera != 3 and time >= '2026-01-01 08:00'",
        code="invalid-filter",
    )


def _tokens(where: str, schema: pa.Schema) -> list[Token]:
    try:
        return tokens_of(where)
    except ValueError as error:
        raise invalid_filter(where, str(error), schema) from None


def _cameras_listed(tokens: list[Token], cameras: Callable[[], Sequence[str]]) -> list[Token]:
    """Replace ``camera > 3`` and ``camera between 3 and 5`` by ``camera in (...)``, where both mean the same.

    They do if every camera is a number: another camera passes neither ``camera > 3`` nor ``not camera > 3``.
    """
    listed: list[Token] = []
    at = 0
    while at < len(tokens):
        compared = _compared_camera(tokens, at)
        values = [] if compared is None else _passing_cameras(cameras(), compared[1])
        if compared is None or not values:
            listed.append(tokens[at])
            at += 1
            continue
        between = [token_of("other", ",")] * (2 * len(values) - 1)
        between[::2] = [token_of("text", quoted(value)) for value in values]
        listed += [
            token_of("name", "camera"),
            token_of("name", "in"),
            token_of("other", "("),
            *between,
            token_of("other", ")"),
        ]
        at += compared[0]
    return listed


def _passing_cameras(cameras: Sequence[str], passes: Callable[[float], bool]) -> list[str]:
    """The cameras whose numbers pass; empty if not all are numbers, or if there are too many to be listed."""
    if len(cameras) > _MOST_LISTED or not all(_PLAIN_NUMBER.fullmatch(camera) for camera in cameras):
        return []
    return [camera for camera in cameras if passes(float(camera))]


def _is_compared(tokens: list[Token], at: int) -> bool:
    return tokens[at].kind == "number" and at + 1 < len(tokens) and tokens[at + 1].kind == "compare"


def _compared_camera(tokens: list[Token], at: int) -> tuple[int, Callable[[float], bool]] | None:
    """The number of tokens that compare the camera with numbers, and the test of a number; None if they do not."""
    if tokens[at].word != _CAMERA and not _is_compared(tokens, at):
        return None
    kinds = [_CAMERA if token.word == _CAMERA else token.kind for token in tokens[at : at + 5]]
    words = [token.word for token in tokens[at : at + 5]]
    low, high = -math.inf, math.inf
    if kinds[:3] == [_CAMERA, "compare", "number"]:
        length, sign, value = 3, words[1], float(words[2])
    elif kinds[:3] == ["number", "compare", _CAMERA]:
        length, sign, value = 3, _TURNED.get(words[1], ""), float(words[0])
    elif kinds == [_CAMERA, "name", "number", "name", "number"] and (words[1], words[3]) == ("between", "and"):
        length, sign, value = 5, "between", 0.0
        low, high = float(words[2]), float(words[4])
    else:
        return None
    beside = [token.text for token in (*tokens[max(0, at - 1) : at], *tokens[at + length : at + length + 1])]
    if any(text in ARITHMETIC or text in _COMPARED for text in beside):
        return None
    if sign == "between":
        return length, lambda number: low <= number <= high
    if sign not in _COMPARED:
        return None
    return length, lambda number: _COMPARED[sign](number, value)


def _compared_with(tokens: list[Token], types: dict[str, pa.DataType]) -> list[tuple[int | None, str]]:
    """For each token, the place of the column that it would be compared with, and the operator; None if there is none.

    Before a literal of a list stand the operator and the column, with other literals between: one pass from left to
    right keeps both, so that the cost is linear.
    """
    found: list[tuple[int | None, str]] = []
    # Of the tokens so far: the column before an operator that may follow, and the column and operator of a literal.
    column: int | None = None
    compared: tuple[int | None, str] | None = None
    for place, token in enumerate(tokens):
        after = (place + 2, tokens[place + 1].word) if place + 2 < len(tokens) else (None, "")
        if compared is not None:
            found.append(compared)
        elif after[0] and tokens[place + 1].kind == "compare" and tokens[place + 2].word in types:
            found.append(after)
        else:
            found.append((None, ""))
        if token.kind == "compare" or token.word in ("in", "between"):
            compared = None if column is None else (column, token.word)
        elif token.kind == "name" and token.word in types:
            column, compared = place, (None, "")
        elif not (token.text in ("(", ",") or token.kind in ("text", "number") or _joins(tokens, place)):
            column = compared = None
    return found


def _plain(token: Token) -> str:
    """The text of a text literal."""
    return token.text[1:-1].replace("''", "'")


def _is_pattern_of_paths(tokens: list[Token], at: int) -> bool:
    """Whether a literal is the pattern in ``path like PATTERN``."""
    before = [token.word for token in tokens[max(0, at - 3) : at]]
    return before[-1:] in (["like"], ["ilike"]) and (before[-2:-1] == [_PATH] or before[:-1] == [_PATH, "not"])


def _absolute_pattern(pattern: str) -> str:
    """Make a pattern absolute if it begins with an existing folder."""
    folder = re.split(r"[%_]", pattern)[0].rpartition("/")[0]
    return kept_path(folder).as_posix() + pattern[len(folder) :] if folder and _is_there(folder) else pattern


def _is_there(path: str) -> bool:
    try:
        return Path(path).exists()
    except (OSError, ValueError):
        return False


def _joins(tokens: list[Token], place: int) -> bool:
    """Whether a token is the ``not`` before ``in`` or the ``and`` of ``between ... and ...``."""
    word = tokens[place].word
    return word == "not" or (word == "and" and place >= 2 and tokens[place - 2].word == "between")


def _literal(
    token: Token, column: Token, data_type: pa.DataType, comparison: str, where: str, schema: pa.Schema
) -> str:
    """Convert a literal to the type of the column that it is compared with."""
    text = _plain(token) if token.kind == "text" else token.text
    if column.word == _PATH and token.kind == "text" and comparison not in _ORDERED and _is_there(text):
        return quoted(kept_path(text).as_posix())
    if data_type == TIME:
        try:
            moment = as_time(text) if token.kind == "text" else None
        except (ValueError, OverflowError):
            moment = None
        if moment is None:
            raise invalid_filter(
                where, f"{token.text} is not a time; write it as '2026-03-01 12:00' (ISO 8601)", schema
            )
        return f"timestamp '{moment.isoformat(sep=' ', timespec='microseconds')}'"
    if data_type == pa.string() and token.kind == "number" and comparison not in _ORDERED:
        # The same form as in the column: 3.0 is camera 3. Digits are not changed: 0042 is not 42.
        is_whole = not _PLAIN_DIGITS.fullmatch(text) and float(text).is_integer()
        return quoted(str(int(float(text))) if is_whole else text)
    if data_type in (pa.int64(), pa.float64()) and token.kind == "text":
        if not re.fullmatch(r"-?\d+(\.\d+)?", text):
            raise invalid_filter(where, f"{column.text} holds numbers, and {token.text} is not a number", schema)
        return text
    return token.text
