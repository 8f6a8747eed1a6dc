"""A ``repr`` of one line for objects that hold arrays, networks or many records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, TypeVar

_LONGEST = 60
"""Characters of a value above which its kind and length are given in its place."""
_FEWEST_COUNTED = 4
"""Items of a sequence or mapping from which on they are counted, not listed."""


_Class = TypeVar("_Class", bound=type)


def with_short_repr(dataclass: _Class) -> _Class:
    """Give a dataclass whose objects are shown on one line; a decorator above ``@dataclass``.

    Examples:
        >>> from dataclasses import dataclass
        >>> @with_short_repr
        ... @dataclass
        ... class Found:
        ...     rows: list[int]
        ...     name: str
        >>> Found(list(range(1000)), "street")
        Found(rows=<1000 items>, name='street')
    """
    dataclass.__repr__ = short_repr  # type: ignore[method-assign,assignment]
    return dataclass


def short_repr(value: object) -> str:
    """Give a dataclass object on one line: arrays by dtype and shape, long collections by their length."""
    of = ((field.name, getattr(value, field.name)) for field in fields(value) if field.repr)  # type: ignore[arg-type]
    return f"{type(value).__name__}({', '.join(f'{name}={_short(part)}' for name, part in of)})"


def _short(value: Any) -> str:
    shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
    if isinstance(shape, tuple) and dtype is not None and shape:
        return f"<{str(dtype).removeprefix('torch.')} {list(shape)}>"
    if isinstance(value, str | bytes):
        return repr(value) if len(value) <= _LONGEST else f"{value[: _LONGEST - 3]!r}..."
    if isinstance(value, tuple | list | set | frozenset | Mapping):
        text = repr(value) if len(value) < _FEWEST_COUNTED else ""
        return text if 0 < len(text) <= _LONGEST and "\n" not in text else f"<{len(value)} items>"
    text = " ".join(repr(value).split())
    return text if len(text) <= 2 * _LONGEST else f"<{type(value).__name__}>"
