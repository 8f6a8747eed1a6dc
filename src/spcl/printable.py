"""Text of users for the terminal: control characters in names are shown as escapes, and cannot act on the terminal.

A file may be called anything: its name could clear the screen, set the window's title, or look like another line of the
program.
"""

from __future__ import annotations

import re

# Control characters, and the marks that change the direction of text; a terminal also ends a line at U+2028 and U+2029.
_ACTIVE = r"\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069"
_IN_TEXT = re.compile(f"[{_ACTIVE}]")
_IN_NAME = re.compile(f"[{_ACTIVE}\t\n]")


def printable(text: str) -> str:
    r"""Replace control characters by escapes such as ``\x1b``; ends of lines and tabs stay."""
    return text if text.isprintable() else _IN_TEXT.sub(_escaped, text)


def printable_name(text: str) -> str:
    """Replace control characters of a name by escapes, ends of lines and tabs included."""
    return text if text.isprintable() else _IN_NAME.sub(_escaped, text)


def _escaped(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode()
