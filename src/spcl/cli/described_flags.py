"""The flags of a command, read from its options: names, type, default and explanation. No parsing here.

The parser (tyro) reads the same dataclasses; the help text and the errors of the command line need to know what it
accepts, and are written from this description.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator
from dataclasses import MISSING, dataclass, fields, is_dataclass
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import tyro

_POSITIONAL = get_args(tyro.conf.Positional[str])[1]
_SUPPRESSED = get_args(tyro.conf.Suppress[str])[1]


@dataclass(frozen=True)
class Flag:
    """A flag or a positional argument of a command.

    Attributes:
        name: Name without dashes, ``batch-size``.
        spellings: What may be written, ``("-b", "--batch-size")``; empty for a positional argument.
        types: Accepted types and words: ``(int, "auto")``, ``("keep", "first")``.
        is_many: Whether it takes several values.
        default: Value where it is not given; ``dataclasses.MISSING``: it is required.
        explanation: Its docstring on one line.
    """

    name: str
    spellings: tuple[str, ...]
    types: tuple[type | str | int, ...]
    is_many: bool
    default: Any
    explanation: str

    @property
    def is_required(self) -> bool:
        """Whether the command does not run without it."""
        return self.default is MISSING

    @property
    def is_switch(self) -> bool:
        """Whether it takes no value."""
        return self.types == (bool,)

    def accepts(self, word: str) -> bool:
        """Whether a word is a value of the right type; its range is not looked at."""
        return any(_is_of(word, each) for each in self.types)


def described_flags(kind: type, default: Any = None) -> list[Flag]:
    """The flags of a command, those of nested settings after its own.

    Args:
        kind: Dataclass of the options.
        default: Options whose values are the defaults; None: those of the dataclass.
    """
    hints, explanations = get_type_hints(kind, include_extras=True), _explanations(kind)
    own: list[Flag] = []
    nested: list[Flag] = []
    for entry in fields(kind):
        hint, notes = _unwrapped(hints[entry.name])
        if _SUPPRESSED in notes:
            continue
        value = getattr(default, entry.name) if default is not None else _default(entry)
        if isinstance(hint, type) and is_dataclass(hint):
            nested += described_flags(hint, None if value is MISSING else value)
            continue
        names = [note.name for note in notes if isinstance(getattr(note, "name", None), str)]
        aliases = [alias for note in notes for alias in getattr(note, "aliases", None) or ()]
        name = (names[0] if names else entry.name).replace("_", "-")
        types, is_many = _types(hint)
        spellings = () if _POSITIONAL in notes else (*aliases, f"--{name}")
        own.append(Flag(name, spellings, types, is_many, value, explanations.get(entry.name, "")))
    return own + nested


def _default(entry: Any) -> Any:
    return entry.default if entry.default_factory is MISSING else entry.default_factory()


def _unwrapped(hint: Any) -> tuple[Any, tuple[Any, ...]]:
    """A type without its annotations, and these."""
    notes: tuple[Any, ...] = ()
    while get_origin(hint) is Annotated:
        hint, *more = get_args(hint)
        notes += tuple(more)
    return hint, notes


def _types(hint: Any) -> tuple[tuple[type | str | int, ...], bool]:
    if get_origin(hint) is tuple:
        return _types(get_args(hint)[0])[0], True
    return tuple(_leaves(hint)), False


def _leaves(hint: Any) -> Iterator[type | str | int]:
    if hint is type(None):
        return
    if get_origin(hint) is Literal or not get_args(hint):
        yield from get_args(hint) or (hint,)
        return
    for part in get_args(hint):
        yield from _leaves(part)


def _is_of(word: str, kind: type | str | int) -> bool:
    if isinstance(kind, str | int):
        return word == str(kind)
    try:
        kind(word)
    except ValueError:
        return False
    return True


def _explanations(kind: type) -> dict[str, str]:
    """The docstring below each field, of base classes too, on one line."""
    found: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        if not is_dataclass(base):
            continue
        body = ast.parse(textwrap.dedent(inspect.getsource(base))).body[0]
        assigned = ""
        for statement in getattr(body, "body", ()):
            if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
                assigned = statement.target.id
            elif assigned and isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
                found[assigned] = " ".join(str(statement.value.value).split())
                assigned = ""
    return found
