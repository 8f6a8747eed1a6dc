"""Filters as users write them, made what the store understands.

SQL, with liberties: a camera or an identity may be written as a number (``camera != 3``), though both are text, and
a time as text (``time >= '2026-01-01 08:00'``). Only literals beside a column are changed; the rest is the store's.
A path that is there is made absolute, as a gallery holds it (``path = 'gate/1.jpg'``, ``path like 'gate/%'``).
``camera > 3`` becomes the list of the cameras above 3, where the gallery's are known: an index answers that, while
every row's text would have to be read as a number.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from spcl.data.image_key import kept_path
from spcl.data.time_parsing import as_time
from spcl.errors import InputError
from spcl.gallery.columns import TIME, VECTOR, column_kind

_TOKEN = re.compile(
    r"""(?P<space>\s+)
      | (?P<text>'(?:[^']|'')*')
      | (?P<number>-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)
      | (?P<name>[^\W\d]\w*)
      | (?P<compare><=|>=|<>|!=|==|=|<|>)
      | (?P<other>[(),+*/%.\-|])""",
    re.VERBOSE,
)
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
_ARITHMETIC = ("+", "-", "*", "/", "%", "|", ".")
_PLAIN_DIGITS = re.compile(r"-?\d+")
_PLAIN_NUMBER = re.compile(r"-?\d+(\.\d+)?")
_MOST_LISTED = 1000


@dataclass
class _Token:
    kind: str
    text: str

    @property
    def word(self) -> str:
        return self.text.lower()


def checked_filter(where: str, schema: pa.Schema, cameras: Callable[[], Sequence[str]] | None = None) -> str:
    """A user's filter as the store takes it.

    Args:
        where: ``camera != 3 and time >= '2026-01-01 08:00'``, say.
        schema: Schema of the gallery's table.
        cameras: Gives the gallery's cameras; called where their numbers are compared. None: they are not known.

    Returns:
        The filter with its literals in the types of their columns.

    Raises:
        InputError: If it cannot be read, or a value does not fit its column; names the columns.
    """
    if not where.strip():
        raise InputError(f"the filter is empty; {known_columns(schema)}")
    tokens = _tokens(where, schema)
    if cameras is not None:
        tokens = _cameras_listed(tokens, cameras)
    types = {field.name.lower(): field.type for field in schema}
    rewritten = [token.text for token in tokens]
    for at, token in enumerate(tokens):
        if token.kind not in ("text", "number"):
            continue
        if token.kind == "text" and _is_pattern_of_paths(tokens, at):
            rewritten[at] = quoted(_absolute_pattern(_plain(token)))
            continue
        place, comparison = _compared_with(tokens, at, types)
        if place is None:
            continue
        column = tokens[place]
        rewritten[at] = _literal(token, column, types[column.word], comparison, where, schema)
        is_number = re.fullmatch(r"[-+.\deE]+", rewritten[at]) is not None
        if is_number and types[column.word] == pa.string():
            # Letter by letter "10" is less than "9".
            rewritten[place] = f"try_cast({column.text} as double)"
        elif is_number and types[column.word] == pa.int64() and "." in rewritten[at]:
            rewritten[place] = f"cast({column.text} as double)"
    return " ".join(rewritten)


def not_cameras(cameras: Iterable[str]) -> str | None:
    """The filter that leaves out some cameras, but no image whose camera is unknown; None without any."""
    listed = ", ".join(quoted(camera) for camera in cameras)
    return f"(camera is null or camera not in ({listed}))" if listed else None


def both(first: str | None, second: str | None) -> str | None:
    """Images that pass both filters; None is passed by all."""
    if first is None or second is None:
        return first or second
    return f"({first}) and ({second})"


def quoted(text: str) -> str:
    """A text as a literal of SQL."""
    return "'" + text.replace("'", "''") + "'"


def known_columns(schema: pa.Schema) -> str:
    """The columns of a gallery, for an error."""
    listed = ", ".join(f"{field.name} ({column_kind(field.type)})" for field in schema if field.name != VECTOR)
    return f"the columns are {listed}"


def refused(where: str, reason: str, schema: pa.Schema) -> InputError:
    """The error for a filter that cannot be used."""
    return InputError(
        f"the filter {where!r} cannot be used: {reason}; {known_columns(schema)}. "
        "Write for example: camera != 3 and time >= '2026-01-01 08:00'"
    )


def _tokens(where: str, schema: pa.Schema) -> list[_Token]:
    tokens, at = [], 0
    while at < len(where):
        found = _TOKEN.match(where, at)
        if found is None:
            hint = " (text stands in single quotes)" if where[at] in "\"'" else ""
            raise refused(where, f"there is {where[at : at + 12]!r} in it{hint}", schema)
        at = found.end()
        if found.lastgroup != "space":
            tokens.append(_Token(str(found.lastgroup), found[0]))
    return tokens


def _cameras_listed(tokens: list[_Token], cameras: Callable[[], Sequence[str]]) -> list[_Token]:
    """``camera > 3`` and ``camera between 3 and 5`` as ``camera in (...)``, where that says the same.

    It does where every camera is a number: one that is none passes neither ``camera > 3`` nor ``not camera > 3``.
    """
    listed: list[_Token] = []
    at = 0
    while at < len(tokens):
        compared = _compared_camera(tokens, at)
        values = [] if compared is None else _passing_cameras(cameras(), compared[1])
        if compared is None or not values:
            listed.append(tokens[at])
            at += 1
            continue
        between = [_Token("other", ",")] * (2 * len(values) - 1)
        between[::2] = [_Token("text", quoted(value)) for value in values]
        listed += [_Token("name", "camera"), _Token("name", "in"), _Token("other", "("), *between, _Token("other", ")")]
        at += compared[0]
    return listed


def _passing_cameras(cameras: Sequence[str], passes: Callable[[float], bool]) -> list[str]:
    """The cameras whose numbers pass; none where not all are numbers, or are too many to be listed."""
    if len(cameras) > _MOST_LISTED or not all(_PLAIN_NUMBER.fullmatch(camera) for camera in cameras):
        return []
    return [camera for camera in cameras if passes(float(camera))]


def _compared_camera(tokens: list[_Token], at: int) -> tuple[int, Callable[[float], bool]] | None:
    """How many tokens from here on compare the camera with numbers, and what passes; None if they do not."""
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
    if any(text in _ARITHMETIC or text in _COMPARED for text in beside):
        return None
    if sign == "between":
        return length, lambda number: low <= number <= high
    if sign not in _COMPARED:
        return None
    return length, lambda number: _COMPARED[sign](number, value)


def _compared_with(tokens: list[_Token], at: int, types: dict[str, pa.DataType]) -> tuple[int | None, str]:
    """Where the column stands that a literal is compared with, and how; None where it is compared with none."""
    comparison = ""
    for place in range(at - 1, -1, -1):
        token = tokens[place]
        if token.kind == "compare" or token.word in ("in", "between"):
            comparison = comparison or token.word
        elif token.kind == "name" and token.word in types:
            return (place, comparison) if comparison else (None, "")
        elif not (token.text in "(," or token.kind in ("text", "number") or _joins(tokens, place)):
            break
    after = tokens[at + 1 : at + 3]
    if len(after) == 2 and after[0].kind == "compare" and after[1].word in types:
        return at + 2, after[0].word
    return None, ""


def _plain(token: _Token) -> str:
    """What a literal of text says."""
    return token.text[1:-1].replace("''", "'")


def _is_pattern_of_paths(tokens: list[_Token], at: int) -> bool:
    """Whether a literal is what paths are compared with by ``like``."""
    before = [token.word for token in tokens[max(0, at - 3) : at]]
    return before[-1:] in (["like"], ["ilike"]) and (before[-2:-1] == [_PATH] or before[:-1] == [_PATH, "not"])


def _absolute_pattern(pattern: str) -> str:
    """A pattern that begins with a folder below the current one, as absolute paths begin."""
    folder = re.split(r"[%_]", pattern)[0].rpartition("/")[0]
    return kept_path(folder).as_posix() + pattern[len(folder) :] if folder and _is_there(folder) else pattern


def _is_there(path: str) -> bool:
    try:
        return Path(path).exists()
    except (OSError, ValueError):
        return False


def _joins(tokens: list[_Token], place: int) -> bool:
    """``not`` before ``in``, and the ``and`` of ``between ... and ...``."""
    word = tokens[place].word
    return word == "not" or (word == "and" and place >= 2 and tokens[place - 2].word == "between")


def _literal(
    token: _Token, column: _Token, data_type: pa.DataType, comparison: str, where: str, schema: pa.Schema
) -> str:
    """A literal in the type of the column it is compared with."""
    text = _plain(token) if token.kind == "text" else token.text
    if column.word == _PATH and token.kind == "text" and comparison not in _ORDERED and _is_there(text):
        return quoted(kept_path(text).as_posix())
    if data_type == TIME:
        try:
            moment = as_time(text) if token.kind == "text" else None
        except (ValueError, OverflowError):
            moment = None
        if moment is None:
            raise refused(where, f"{token.text} is no time; write it as '2026-03-01 12:00' (ISO 8601)", schema)
        return f"timestamp '{moment.isoformat(sep=' ', timespec='microseconds')}'"
    if data_type == pa.string() and token.kind == "number" and comparison not in _ORDERED:
        # As the column's own values are written: 3.0 is camera 3. Digits stay as they are: 0042 is not 42.
        is_whole = not _PLAIN_DIGITS.fullmatch(text) and float(text).is_integer()
        return quoted(str(int(float(text))) if is_whole else text)
    if data_type in (pa.int64(), pa.float64()) and token.kind == "text":
        if not re.fullmatch(r"-?\d+(\.\d+)?", text):
            raise refused(where, f"{column.text} holds numbers, and {token.text} is none", schema)
        return text
    return token.text
