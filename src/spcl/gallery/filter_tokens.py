"""The words of a filter: names, literals, comparisons, operators. ``filters.py`` gives them their meaning."""

from __future__ import annotations

import re
from typing import NamedTuple

ARITHMETIC = ("+", "-", "*", "/", "%", "|", ".")
"""Operators and signs that make a value of two others."""

_MOST_OPERATORS = 250
"""Largest number of operators. LanceDB overflows the stack, and ends the process, at some thousands in a chain."""

_TOKEN = re.compile(
    r"""(?P<space>\s+)
      | (?P<text>'(?:[^']|'')*')
      | (?P<number>-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)
      | (?P<name>[^\W\d]\w*)
      | (?P<compare><=|>=|<>|!=|==|=|<|>)
      | (?P<other>[(),+*/%.\-|])""",
    re.VERBOSE,
)


class Token(NamedTuple):
    """A word of a filter.

    Attributes:
        kind: ``text``, ``number``, ``name``, ``compare`` or ``other``.
        text: The word as it is written.
        word: The word in small letters.
    """

    kind: str
    text: str
    word: str


def token_of(kind: str, text: str) -> Token:
    """Make a token of a kind and a text."""
    return Token(kind, text, text.lower())


def tokens_of(where: str) -> list[Token]:
    """Split a filter into its words.

    Raises:
        ValueError: If it holds a character of no word, or more operators than can be used. Lists have none.
    """
    tokens, at = [], 0
    while at < len(where):
        found = _TOKEN.match(where, at)
        if found is None:
            hint = " (write text in single quotes)" if where[at] in "\"'" else ""
            raise ValueError(f"there is {where[at : at + 12]!r} in it{hint}")
        at = found.end()
        if found.lastgroup != "space":
            tokens.append(token_of(str(found.lastgroup), found[0]))
    num = sum(token.text in ARITHMETIC or token.word in ("and", "or", "not") for token in tokens)
    if num > _MOST_OPERATORS:
        raise ValueError(f"it has {num} operators, of {_MOST_OPERATORS} at most; write many values as column in (...)")
    return tokens
