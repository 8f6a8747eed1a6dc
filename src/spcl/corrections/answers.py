"""Answers to the questions of ``spcl ask``, as corrections."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from spcl.corrections.actions import Line
from spcl.corrections.corrected_groups import CorrectedGroups, CorrectionResult, add_lines, read_groups
from spcl.corrections.correction import in_lines
from spcl.corrections.corrections_file import alone
from spcl.corrections.group_table import NO_GROUP
from spcl.data.image_key import image_keys
from spcl.data.table_files import Table
from spcl.data.table_paths import paths_of
from spcl.data.text_tables import read_text_table
from spcl.errors import InputError

QUESTIONS = "questions.csv"
"""Name of the table of questions."""

PARTS = "questions_parts.csv"
"""Name of the table of the images that leave a group, for each question about the parts of one group."""

_Pair = tuple[str, str]
_SAME, _DIFFERENT, _UNSURE = ("same", "yes", "y", "s"), ("different", "no", "n", "d"), ("unsure", "?", "u", "")


@dataclass(frozen=True)
class Answers:
    """The answers in a table.

    Attributes:
        same: Pairs of images of one object.
        different: Pairs of images of two objects.
        open: Number of questions without an answer, or with ``unsure``.
    """

    same: tuple[tuple[Path, Path], ...]
    different: tuple[tuple[Path, Path], ...]
    open: int


def read_answers(path: Path) -> Answers:
    """Read a table with the columns ``path_a``, ``path_b`` and ``answer`` (same, different, unsure or empty).

    Raises:
        InputError: If it cannot be read, a column is missing, or an answer is another word.
    """
    names, columns, lines, _ = read_text_table(path, {"path": "path_a"})
    cells = {name.strip().lower(): column for name, column in zip(names, columns, strict=True)}
    for name in ("path_a", "path_b", "answer"):
        if name not in cells:
            raise InputError(
                f"{path} has no column {name!r}; expected the {QUESTIONS} of spcl ask, with answers",
                code="no-such-column",
            )
    pairs = [
        paths_of(Table(path, {"path": [cell or "" for cell in cells[name]]}, lines)).paths
        for name in ("path_a", "path_b")
    ]
    same, different, unsure = [], [], 0
    for first, second, cell, line in zip(*pairs, cells["answer"], lines, strict=True):
        answer = (cell or "").strip().lower()
        if answer in _SAME:
            same.append((first, second))
        elif answer in _DIFFERENT:
            different.append((first, second))
        elif answer in _UNSURE:
            unsure += 1
        else:
            raise InputError(
                f"{path} has the answer {answer!r} in line {line}; expected same, different, unsure, or an empty cell",
                code="malformed-table",
            )
    return Answers(tuple(same), tuple(different), unsure)


def has_answers(path: Path) -> bool:
    """Whether a table of questions has an answer; a table that cannot be read counts as one."""
    if not path.is_file():
        return False
    try:
        found = read_answers(path)
    except InputError:
        return True
    return bool(found.same or found.different)


def take_answers(folder: str | Path, table: str | Path, *, who: str = "") -> CorrectionResult:
    """Make one correction of the answers in a table: ``same`` merges two groups, ``different`` keeps them apart.

    Two images of one group that are ``different`` divide it, into the parts that ``spcl ask`` has written beside its
    questions.

    Args:
        folder: A folder of ``spcl cluster``.
        table: The filled-in table.
        who: Who answered; empty: the user of the system.

    Raises:
        InputError: If the table or the folder cannot be read, no answer is about images of the folder, or a file cannot
            be written.
    """
    where = Path(folder)
    read_groups(where)
    answers = read_answers(Path(table))
    with alone(where):
        before = read_groups(where)
        divided = _divided(_lines("deny", answers.different, before), _parts(where), before)
        same = _lines("merge", answers.same, before)
        # What is one object in one group is known before the group is divided; then others are merged.
        lines = [*(one for one in same if _is_inside(one, before)), *divided]
        lines += [one for one in same if not _is_inside(one, before)]
        if not lines:
            raise InputError(
                f"{table} has no new answer about images in {where}; write same or different into the column answer",
                code="no-answers",
            )
        return add_lines(before, lines, who=who)


def _lines(action: str, pairs: Sequence[tuple[Path, Path]], groups: CorrectedGroups) -> list[Line]:
    """A line for each pair whose images are both in the table and that no correction says already."""
    row_of = {key: row for row, key in enumerate(image_keys(groups.table.paths))}
    links = groups.replayed.must_link if action == "merge" else groups.replayed.cannot_link
    known = {frozenset(pair) for pair in links.tolist()}
    lines: list[Line] = []
    for pair in pairs:
        rows = [row_of.get(key, -1) for key in image_keys(pair)]
        if -1 not in rows and rows[0] != rows[1] and frozenset(rows) not in known:
            lines.append((action, tuple(groups.table.paths[row] for row in rows), ""))
    return lines


def _is_inside(line: Line, groups: CorrectedGroups) -> bool:
    """Whether the two images of a line are in one group."""
    row_of = dict(zip(groups.table.paths, groups.table.group.tolist(), strict=True))
    numbers = {row_of[path] for path in line[1]}
    return len(numbers) == 1 and NO_GROUP not in numbers


def divide_lines(part: Sequence[Path], other: Path) -> list[Line]:
    """Give the lines that divide a group.

    Args:
        part: The images that leave the group, first the one that does not show the object of ``other``.
        other: An image that stays.
    """
    return in_lines("divide", part, str(other))


def _divided(lines: Sequence[Line], parts: Mapping[_Pair, Sequence[Path]], groups: CorrectedGroups) -> list[Line]:
    """Replace the denial of each question about two parts of one group by the division of the group."""
    found: list[Line] = []
    for line in lines:
        keys = tuple(image_keys(line[1]))
        part = [] if len(keys) != 2 else parts.get((keys[0], keys[1]), [])
        first, second = line[1][:2]
        rest = [path for path in part if path != first]
        found += divide_lines([first, *rest], second) if part else [line]
    return found


def _parts(folder: Path) -> dict[_Pair, list[Path]]:
    """Read the images that leave a group, by the keys of the pair that was asked about; empty without a table."""
    path = folder / PARTS
    if not path.is_file():
        return {}
    names, columns, lines, _ = read_text_table(path, {"path": "path_a"})
    cells = {name.strip().lower(): column for name, column in zip(names, columns, strict=True)}
    if not {"path_a", "path_b", "path"} <= cells.keys() or not lines:
        return {}
    pairs = [
        paths_of(Table(path, {"path": [cell or "" for cell in cells[name]]}, lines)).paths
        for name in ("path_a", "path_b", "path")
    ]
    found: dict[_Pair, list[Path]] = {}
    keys = [image_keys(some) for some in pairs[:2]]
    for first, second, image in zip(*keys, pairs[2], strict=True):
        found.setdefault((first, second), []).append(image)
    return found
