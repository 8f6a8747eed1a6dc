"""Parsing of a checked filter into a tree (``filter_tree.py``)."""

from __future__ import annotations

import re
from datetime import datetime

import pyarrow as pa

from spcl.gallery.columns import TIME, VECTOR, column_kind
from spcl.gallery.filter_tokens import ARITHMETIC, Token, tokens_of
from spcl.gallery.filter_tree import SIGNS, And, Column, Compare, In, IsNull, Like, Literal, Not, Or, Tree, Value

_DEEPEST = 60
_SPELLED = {"==": "=", "<>": "!="}
_POSSIBLE = "comparisons of a column with a value, in (...), between, like, is null, and, or, not, and parentheses"


def parsed_filter(condition: str, schema: pa.Schema) -> Tree:
    """Parse a filter whose literals have the types of their columns, as ``checked_filter`` gives it.

    Args:
        condition: The filter.
        schema: Columns that it may name; capital letters are not distinguished.

    Raises:
        ValueError: If it is no filter, names no column, or asks for what cannot be answered; the message says which.
    """
    return _Parser(condition, schema).whole()


class _Parser:
    """Reads the words of a filter from left to right."""

    def __init__(self, condition: str, schema: pa.Schema) -> None:
        self._tokens = tokens_of(condition)
        self._fields = {field.name.lower(): field for field in schema}
        self._at = 0
        self._depth = 0

    def whole(self) -> Tree:
        tree = self._any()
        if self._at < len(self._tokens):
            raise self._unexpected()
        return tree

    def _any(self) -> Tree:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise ValueError(f"it has more than {_DEEPEST} parentheses or negations inside each other")
        parts = [self._all()]
        while self._takes("or"):
            parts.append(self._all())
        self._depth -= 1
        return parts[0] if len(parts) == 1 else Or(tuple(parts))

    def _all(self) -> Tree:
        parts = [self._one()]
        while self._takes("and"):
            parts.append(self._one())
        return parts[0] if len(parts) == 1 else And(tuple(parts))

    def _one(self) -> Tree:
        if self._takes("not"):
            self._depth += 1
            if self._depth > _DEEPEST:
                raise ValueError(f"it has more than {_DEEPEST} parentheses or negations inside each other")
            part = self._one()
            self._depth -= 1
            return Not(part)
        if self._takes("("):
            tree = self._any()
            self._expect(")")
            return tree
        return self._condition()

    def _condition(self) -> Tree:
        left = self._side()
        token = self._next()
        if token is not None and token.kind == "compare":
            self._at += 1
            return _compared(left, _SPELLED.get(token.text, token.text), self._side())
        if self._takes("is"):
            is_not = self._takes("not")
            self._expect("null")
            tree: Tree = IsNull(_column(left, "is null"))
            return Not(tree) if is_not else tree
        is_not = self._takes("not")
        tree = self._named(left, "not " if is_not else "")
        return Not(tree) if is_not else tree

    def _named(self, left: Column | Literal, before: str) -> Tree:
        """A condition with a word: ``in``, ``between``, ``like``; or a column of true and false by itself."""
        if self._takes("in"):
            return self._in(_column(left, "in"))
        if self._takes("between"):
            low = self._side()
            self._expect("and")
            return And((_compared(left, ">=", low), _compared(left, "<=", self._side())))
        if self._takes("like"):
            return self._like(_column(left, "like"), ignores_case=False)
        if self._takes("ilike"):
            return self._like(_column(left, "ilike"), ignores_case=True)
        if before:
            raise self._unexpected()
        if isinstance(left, Column) and left.kind != pa.bool_():
            raise ValueError(f"{left.name} holds {column_kind(left.kind)}, no boolean: compare it with a value")
        return _compared(left, "=", Literal(True))

    def _in(self, column: Column) -> Tree:
        self._expect("(")
        values: list[Value] = []
        while True:
            side = self._side()
            if isinstance(side, Column):
                raise ValueError(f"a list after in holds values, not the column {side.name}")
            _check_kinds(column, side)
            values.append(side.value)
            if not self._takes(","):
                break
        self._expect(")")
        return In(column, tuple(values))

    def _like(self, column: Column, *, ignores_case: bool) -> Tree:
        token = self._next()
        if token is None or token.kind != "text" or column.kind != pa.string():
            raise ValueError(f"like compares a column of text with a pattern in quotes; {column.name} is compared")
        self._at += 1
        return Like(column, _plain(token), ignores_case)

    def _side(self) -> Column | Literal:
        token = self._next()
        if token is None:
            raise self._unexpected()
        self._at += 1
        side = self._side_of(token)
        after = self._next()
        if after is not None and (after.text in ARITHMETIC or (after.kind == "number" and after.text[0] == "-")):
            raise ValueError(f"a gallery in Qdrant cannot compute with {after.text!r}; possible are {_POSSIBLE}")
        return side

    def _side_of(self, token: Token) -> Column | Literal:
        if token.kind == "text":
            return Literal(_plain(token))
        if token.kind == "number":
            return Literal(int(token.text) if re.fullmatch(r"-?\d+", token.text) else float(token.text))
        after = self._next()
        if token.word == "timestamp" and after is not None and after.kind == "text":
            self._at += 1
            return Literal(datetime.fromisoformat(_plain(after)))
        if token.word in ("cast", "try_cast") and after is not None and after.text == "(":
            return self._cast()
        if token.word in ("true", "false", "null"):
            return Literal({"true": True, "false": False, "null": None}[token.word])
        if token.kind == "name" and after is not None and after.text == "(":
            raise ValueError(f"a gallery in Qdrant has no function {token.text}; possible are {_POSSIBLE}")
        field = self._fields.get(token.word) if token.kind == "name" else None
        if field is None and token.kind == "name" and token.word not in ("and", "or", "not", "in", "is", "like"):
            raise ValueError(f"there is no column {token.text} (write text and times in single quotes)")
        if field is None:
            self._at -= 1
            raise self._unexpected()
        if field.name == VECTOR:
            raise ValueError("could not convert the vectors: a filter cannot name them")
        return Column(field.name, field.type)

    def _cast(self) -> Column:
        self._expect("(")
        side = self._side()
        for word in ("as", "double"):
            self._expect(word)
        self._expect(")")
        if not isinstance(side, Column) or side.kind not in (pa.string(), pa.int64(), pa.float64()):
            raise ValueError(f"a gallery in Qdrant cannot convert values so; possible are {_POSSIBLE}")
        return Column(side.name, side.kind, as_number=True)

    def _next(self) -> Token | None:
        return self._tokens[self._at] if self._at < len(self._tokens) else None

    def _takes(self, word: str) -> bool:
        token = self._next()
        if token is None or token.kind == "text" or token.word != word:
            return False
        self._at += 1
        return True

    def _expect(self, word: str) -> None:
        if not self._takes(word):
            raise self._unexpected(word)

    def _unexpected(self, wanted: str = "a condition") -> ValueError:
        token = self._next()
        there = "its end" if token is None else repr(token.text)
        return ValueError(f"it cannot be parsed: Expected {wanted} at {there}; possible are {_POSSIBLE}")


def _compared(left: Column | Literal, sign: str, right: Column | Literal) -> Tree:
    if sign not in SIGNS:
        raise ValueError(f"there is no comparison {sign}")
    _check_kinds(left, right)
    return Compare(left, sign, right)


def _column(side: Column | Literal, word: str) -> Column:
    if isinstance(side, Literal):
        raise ValueError(f"a column stands before {word}, not the value {side.value!r}")
    return side


def _check_kinds(left: Column | Literal, right: Column | Literal) -> None:
    """Raise a ``ValueError`` for values of different kinds; null can be compared with all."""
    kinds = [_kind(side) for side in (left, right)]
    if None not in kinds and kinds[0] != kinds[1]:
        raise ValueError(f"{_shown(left)} and {_shown(right)} cannot be compared: {kinds[0]} and {kinds[1]}")


def _kind(side: Column | Literal) -> str | None:
    if isinstance(side, Column):
        if side.as_number or side.kind in (pa.int64(), pa.float64()):
            return "a number"
        return "a time" if side.kind == TIME else column_kind(side.kind)
    value = side.value
    if value is None or isinstance(value, bool):
        return None if value is None else "true or false"
    return "text" if isinstance(value, str) else "a time" if isinstance(value, datetime) else "a number"


def _shown(side: Column | Literal) -> str:
    return side.name if isinstance(side, Column) else str(side.value)


def _plain(token: Token) -> str:
    return token.text[1:-1].replace("''", "'")
