"""Cells of tables for spreadsheets that would be computed as formulas: an image may be called ``=HYPERLINK(...)``.

An apostrophe before such a cell makes it text. Of tables that begin with the byte-order mark of a spreadsheet, reading
removes it again, so that every cell comes back as it was. Tables without the mark are for programs, which read paths
and names from them: their cells are written as they are.
"""

from __future__ import annotations

import re

_FORMULA = re.compile(r"'*[=+\-@\t\r\n]")


def as_text(cell: str) -> str:
    """Put an apostrophe before text that a spreadsheet would compute; a name of digits, ``-3``, stays a name."""
    return f"'{cell}" if _FORMULA.match(cell) else cell


def from_text(cell: str) -> str:
    """Undo ``as_text``."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell
