"""One correction by hand, and its text in the cells of a table.

A correction names images, not numbers of groups: numbers change when the images are grouped again, and what a person
said about images stays true. What each action means is in ``replay.py``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ACTIONS = ("merge", "split", "move", "confirm", "name", "deny", "divide", "undo")
"""The words of the column ``action``."""

HEADER = ("number", "time", "who", "action", "subjects", "argument")
"""The columns of ``corrections.csv``."""

_LONGEST_CELL = 30_000
"""Characters of a cell: spreadsheets cut longer ones (Excel at 32,767)."""


@dataclass(frozen=True)
class Correction:
    """One line of ``corrections.csv``.

    Several lines may have one number: they are one correction for ``undo``.

    Attributes:
        number: Number of the correction, from 1.
        action: One of ``ACTIONS``.
        subjects: The images that the correction is about, absolute paths.
        argument: The name (``name``), the number of the correction that is taken back (``undo``), or the path of an
            image of the other group: of the target (``move``; empty: no group) or of what is left (``split``,
            ``divide``).
        time: When it was written, UTC in ISO 8601; it is not used.
        who: Who wrote it; it is not used.
        line: Line of the file, from 1; 0: not read from a file.
    """

    number: int
    action: str
    subjects: tuple[Path, ...]
    argument: str = ""
    time: str = ""
    who: str = ""
    line: int = 0

    def cells(self) -> tuple[str, ...]:
        """Give the cells of the line, in the order of ``HEADER``."""
        return (str(self.number), self.time, self.who, self.action, subjects_text(self.subjects), self.argument)


def subjects_text(paths: Sequence[str | Path]) -> str:
    """Join paths by vertical bars; a bar inside a path has a backslash before it."""
    # Backslashes are doubled only before a bar: paths of Windows stay readable.
    return "|".join(re.sub(r"(\\*)(\||$)", _escaped, str(path)) for path in paths)


def subjects_of(text: str) -> list[str]:
    """Split the text of ``subjects_text`` into paths; empty parts are left out."""
    found = [""]
    for part in re.findall(r"\\*\||\\+$|\\+|[^\\|]+", text):
        slashes = part.rstrip("|")
        if part.endswith("|"):
            found[-1] += slashes[: len(slashes) // 2]
            if len(slashes) % 2:
                found[-1] += "|"
            else:
                found.append("")
        else:
            found[-1] += part
    # At the end of the text, backslashes were doubled as before a bar.
    slashes = len(text) - len(text.rstrip("\\"))
    if slashes:
        found[-1] = found[-1][: len(found[-1]) - (slashes + 1) // 2]
    return [path for path in found if path]


def in_lines(action: str, subjects: Sequence[Path], argument: str = "") -> list[tuple[str, tuple[Path, ...], str]]:
    """Divide a correction of many images into lines whose cells every spreadsheet keeps.

    Each line repeats the first image, so that the lines together say the same as one line.

    Returns:
        Action, subjects and argument of each line; at least one line.
    """
    first, *rest = subjects
    lines: list[list[Path]] = [[first]]
    length = len(subjects_text([first]))
    for path in rest:
        more = len(subjects_text([path])) + 1
        if length + more > _LONGEST_CELL:
            lines.append([first])
            length = len(subjects_text([first]))
        lines[-1].append(path)
        length += more
    return [(action, tuple(line), argument) for line in lines]


def _escaped(found: re.Match[str]) -> str:
    return found[1] * 2 + ("\\|" if found[2] else "")
