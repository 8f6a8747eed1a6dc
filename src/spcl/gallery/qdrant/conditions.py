"""Filters as conditions of Qdrant that pass the same rows as in SQL: what is unknown passes no comparison.

Each condition is made in two forms, for the rows where it is true and for those where it is false; ``not`` exchanges
both, so that unknown values pass neither. What Qdrant has no exact condition for gives None, and is then answered by
reading columns (``snapshot.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from typing import Any, TypeAlias

import pyarrow as pa

from spcl.gallery.columns import KEY, TIME
from spcl.gallery.filter_tree import (
    OPPOSITE,
    SIGNS,
    And,
    Column,
    Compare,
    In,
    IsNull,
    Like,
    Literal,
    Not,
    Or,
    Tree,
    Value,
    truth,
)
from spcl.gallery.qdrant.connection import models
from spcl.gallery.qdrant.payload import FOLDERS

Condition: TypeAlias = Any
"""A ``models.Filter`` or a condition in one."""
Distinct: TypeAlias = Callable[[str], Sequence[str] | None]
"""Gives all values of a column of text; None: there are too many."""

_EXACT_NUMBERS = 2**53
"""Whole numbers below are numbers of 64 bits, which Qdrant compares ranges by."""
_RANGES = {"<": "lt", "<=": "lte", ">": "gt", ">=": "gte"}
_TURNED = {"=": "=", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}


def condition_of(tree: Tree, distinct: Distinct, *, wanted: bool = True) -> Condition | None:
    """Make the condition of the rows for which a filter is true (``wanted``) or false.

    Args:
        tree: The filter.
        distinct: Lists the values of a column of text, for what is compared value by value.
        wanted: Which answer the rows have.

    Returns:
        The condition; None if there is no exact one.
    """
    if isinstance(tree, Not):
        return condition_of(tree.part, distinct, wanted=not wanted)
    if isinstance(tree, And | Or):
        parts = [condition_of(part, distinct, wanted=wanted) for part in tree.parts]
        if any(part is None for part in parts):
            return None
        is_every = isinstance(tree, And) == wanted
        return models().Filter(must=parts) if is_every else models().Filter(should=parts)
    if isinstance(tree, IsNull):
        return _unknown(tree.column.name) if wanted else models().Filter(must_not=[_unknown(tree.column.name)])
    if isinstance(tree, Compare):
        return _compared(tree, distinct, wanted)
    if isinstance(tree, In):
        return _listed(tree, distinct, wanted)
    return _like(tree, distinct, wanted)


def no_row() -> Condition:
    """The condition that no row passes: every row has a key."""
    return models().Filter(must=[_unknown(KEY)])


def every_row() -> Condition:
    """The condition that every row passes."""
    return models().Filter(must_not=[_unknown(KEY)])


def _unknown(column: str) -> Condition:
    found = models()
    return found.IsEmptyCondition(is_empty=found.PayloadField(key=column))


def _known_but(column: str, condition: Condition) -> Condition:
    return models().Filter(must_not=[_unknown(column), condition])


def _compared(tree: Compare, distinct: Distinct, wanted: bool) -> Condition | None:
    left, sign, right = tree.left, tree.sign if wanted else OPPOSITE[tree.sign], tree.right
    if isinstance(left, Literal) and isinstance(right, Literal):
        answer = None if None in (left.value, right.value) else SIGNS[sign](left.value, right.value)
        return every_row() if answer else no_row()
    if isinstance(left, Literal):
        left, sign, right = right, _TURNED[sign], left
    if not isinstance(left, Column) or isinstance(right, Column):
        return None
    if right.value is None:
        return no_row()
    if sign in ("=", "!="):
        equal = _equal(left, right.value)
        if equal is not None:
            return equal if sign == "=" else _known_but(left.name, equal)
    elif left.kind != pa.string():
        return _in_range(left, sign, right.value)
    return _by_values(Compare(left, sign, right), left, distinct, True)


def _equal(column: Column, value: Value) -> Condition | None:
    found = models()
    is_plain = not column.as_number and column.kind in (pa.string(), pa.bool_(), pa.int64())
    if is_plain and not isinstance(value, float | datetime):
        if isinstance(value, int) and abs(value) >= 2**63:
            return no_row()
        return found.FieldCondition(key=column.name, match=found.MatchValue(value=value))
    if column.kind == pa.string():
        return None
    both = [_in_range(column, sign, value) for sign in ("<=", ">=")]
    return None if None in both else found.Filter(must=both)


def _in_range(column: Column, sign: str, value: Value) -> Condition | None:
    """The condition of a comparison of numbers or times; None where numbers of 64 bits are not exact."""
    found = models()
    if column.kind == TIME and isinstance(value, datetime):
        moment = found.DatetimeRange(**{_RANGES[sign]: value.replace(tzinfo=timezone.utc)})
        return found.FieldCondition(key=column.name, range=moment)
    if column.kind == pa.bool_() or isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if (column.kind == pa.int64() or isinstance(value, int)) and abs(value) >= _EXACT_NUMBERS:
        return None
    return found.FieldCondition(key=column.name, range=found.Range(**{_RANGES[sign]: float(value)}))


def _listed(tree: In, distinct: Distinct, wanted: bool) -> Condition | None:
    column, known = tree.column, [value for value in tree.values if value is not None]
    if not wanted and len(known) < len(tree.values):
        # A value that is not in the list may be the unknown one.
        return no_row()
    found = models()
    condition: Condition | None = None
    if not known:
        return no_row()
    if column.kind == pa.string() and not column.as_number:
        condition = found.FieldCondition(key=column.name, match=found.MatchAny(any=known))
    elif column.kind != pa.string():
        equal = [_equal(column, value) for value in known]
        condition = None if None in equal else found.Filter(should=equal)
    if condition is None:
        return _by_values(tree, column, distinct, wanted)
    return condition if wanted else _known_but(column.name, condition)


def _like(tree: Like, distinct: Distinct, wanted: bool) -> Condition | None:
    found = models()
    name = tree.column.name
    folder = tree.pattern[:-2]
    if not tree.ignores_case and name == "path" and tree.pattern.endswith("/%") and not set(folder) & set("%_\\"):
        below = found.FieldCondition(key=FOLDERS, match=found.MatchValue(value=folder))
        return below if wanted else _known_but(name, below)
    return _by_values(tree, tree.column, distinct, wanted)


def _by_values(tree: Compare | In | Like, column: Column, distinct: Distinct, wanted: bool) -> Condition | None:
    """The list of the values of a column that pass; None if there are too many values."""
    values = None if column.kind != pa.string() else distinct(column.name)
    if values is None:
        return None
    passing = [value for value in values if truth(tree, {column.name: value}) is wanted]
    found = models()
    return found.FieldCondition(key=column.name, match=found.MatchAny(any=passing)) if passing else no_row()
