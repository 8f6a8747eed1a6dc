"""A checked filter as a tree: comparisons, ``in``, ``like``, ``is null``, joined by ``and``, ``or`` and ``not``.

It is for stores that do not read SQL. ``filter_parsing.py`` makes it of a checked filter, and ``truth`` gives the
answer for one row: true, false, or None where a value is unknown, as SQL has it.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, TypeAlias

import pyarrow as pa

Value: TypeAlias = str | int | float | bool | datetime | None

SIGNS: Mapping[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
OPPOSITE: Mapping[str, str] = {"=": "!=", "!=": "=", "<": ">=", ">=": "<", ">": "<=", "<=": ">"}
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


@dataclass(frozen=True)
class Column:
    """A column.

    Attributes:
        name: Its name, as the gallery spells it.
        kind: Its type.
        as_number: Whether text or whole numbers are read as numbers; text that is no number is then unknown.
    """

    name: str
    kind: pa.DataType
    as_number: bool = False


@dataclass(frozen=True)
class Literal:
    """A value of the filter itself; None is ``null``."""

    value: Value


@dataclass(frozen=True)
class Compare:
    """Two values with a sign between them; the sign is a key of ``SIGNS``."""

    left: Column | Literal
    sign: str
    right: Column | Literal


@dataclass(frozen=True)
class In:
    """Whether a column has one of some values."""

    column: Column
    values: tuple[Value, ...]


@dataclass(frozen=True)
class Like:
    """Whether a text matches a pattern: ``%`` is any text, ``_`` one character; a backslash escapes them."""

    column: Column
    pattern: str
    ignores_case: bool


@dataclass(frozen=True)
class IsNull:
    """Whether a column is unknown."""

    column: Column


@dataclass(frozen=True)
class Not:
    """The opposite of a condition."""

    part: Tree


@dataclass(frozen=True)
class And:
    """All conditions hold."""

    parts: tuple[Tree, ...]


@dataclass(frozen=True)
class Or:
    """One of the conditions holds."""

    parts: tuple[Tree, ...]


Tree: TypeAlias = Compare | In | Like | IsNull | Not | And | Or


def truth(tree: Tree, row: Mapping[str, Value]) -> bool | None:
    """Whether a row passes; None: unknown, which passes neither the filter nor its opposite.

    Args:
        tree: The filter.
        row: Values of the columns by name; one that is missing is unknown.
    """
    if isinstance(tree, And | Or):
        answers = [truth(part, row) for part in tree.parts]
        decisive = isinstance(tree, Or)
        if decisive in answers:
            return decisive
        return None if None in answers else not decisive
    if isinstance(tree, Not):
        answer = truth(tree.part, row)
        return None if answer is None else not answer
    if isinstance(tree, IsNull):
        return row.get(tree.column.name) is None
    if isinstance(tree, Compare):
        left, right = _value(tree.left, row), _value(tree.right, row)
        return None if left is None or right is None else SIGNS[tree.sign](*_alike(left, right))
    value = _value(tree.column, row)
    if value is None:
        return None
    if isinstance(tree, In):
        answers = [None if each is None else SIGNS["="](*_alike(value, each)) for each in tree.values]
        return True if True in answers else None if None in answers else False
    return pattern_of(tree.pattern, tree.ignores_case).fullmatch(str(value)) is not None


def columns_of(tree: Tree) -> set[str]:
    """The names of the columns that a filter reads."""
    if isinstance(tree, And | Or):
        return set().union(*(columns_of(part) for part in tree.parts))
    if isinstance(tree, Not):
        return columns_of(tree.part)
    if isinstance(tree, Compare):
        return {side.name for side in (tree.left, tree.right) if isinstance(side, Column)}
    return {tree.column.name}


@lru_cache(maxsize=256)
def pattern_of(pattern: str, ignores_case: bool) -> re.Pattern[str]:
    """The regular expression of a pattern of ``like``."""
    words = {"%": ".*", "_": "."}
    parts = re.findall(r"\\.|[^\\]|\\", pattern, re.DOTALL)
    text = "".join(words.get(part) or re.escape(part[1:] if len(part) > 1 else part) for part in parts)
    return re.compile(text, re.DOTALL | (re.IGNORECASE if ignores_case else 0))


def as_number(text: str) -> float | None:
    """The number that a text is; None if it is none."""
    return float(text) if _NUMBER.fullmatch(text) else None


def _alike(left: Value, right: Value) -> tuple[Value, Value]:
    """Two values in one type: beside a number with a fraction, a whole number is rounded to one, as SQL does."""
    if isinstance(left, float) and isinstance(right, int):
        return left, float(right)
    return (float(left), right) if isinstance(right, float) and isinstance(left, int) else (left, right)


def _value(side: Column | Literal, row: Mapping[str, Value]) -> Value:
    if isinstance(side, Literal):
        return side.value
    value = row.get(side.name)
    if not side.as_number or value is None:
        return value
    return as_number(value) if isinstance(value, str) else float(value)  # type: ignore[arg-type]
