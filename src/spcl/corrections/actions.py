"""From a command on groups (merge 3 7) to the lines of ``corrections.csv``, which name images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from spcl.corrections.correction import in_lines
from spcl.corrections.corrections_file import CorrectionLog
from spcl.corrections.group_table import NO_GROUP
from spcl.corrections.provisional_names import is_provisional, provisional_name
from spcl.corrections.references import References
from spcl.data.placeholders import is_placeholder
from spcl.errors import InputError

Line = tuple[str, tuple[Path, ...], str]
"""Action, subjects and argument."""

NOWHERE, NEW = "none", "new"
"""In place of a group: no group, and a new one."""


def lines_of(action: str, words: Sequence[str], known: References, log: CorrectionLog) -> list[Line]:
    """Give the lines that a command means.

    Args:
        action: ``merge``, ``split``, ``move``, ``confirm``, ``name``, ``deny`` or ``undo``.
        words: Groups (numbers or names), images (paths or file names), a name or a number, as the action needs.
        known: The groups as they are now.
        log: The corrections so far.

    Raises:
        InputError: If a group or an image is not there, or the command would change nothing.
    """
    if action not in _USAGE:
        raise InputError(f"there is no correction {action!r}; expected {', '.join(_USAGE)}", code="no-such-correction")
    usage, least, most = _USAGE[action]
    if len(words) < least:
        raise InputError(f"{action} takes {usage}, and got {' '.join(words) or 'nothing'}", code="missing-argument")
    if most and len(words) > most:
        hint = "; put a name of several words in quotes" if action == "name" else ""
        raise InputError(f"{action} takes {usage}, and got {' '.join(words)}{hint}", code="too-many-arguments")
    return undo_lines(words, log) if action == "undo" else _MAKERS[action](words, known)


def undo_lines(words: Sequence[str], log: CorrectionLog) -> list[Line]:
    """Give the line that takes back a correction: the one of a number, or the last that counts."""
    undone = log.undone
    numbers = {each.number: each.action for each in log.corrections if each.number not in undone}
    if not words:
        countable = [each.number for each in log.active]
        if not countable:
            raise InputError("there is no correction that could be taken back", code="nothing-to-undo")
        return [("undo", (), str(countable[-1]))]
    (word,) = words
    if not word.isdecimal() or int(word) not in numbers:
        why = "is taken back already" if word.isdecimal() and int(word) in undone else "is not the number of one"
        listed = ", ".join(f"{number} ({action})" for number, action in list(numbers.items())[-3:]) or "none"
        raise InputError(
            f"undo takes the number of a correction, and {word} {why}; the last are: {listed}", code="nothing-to-undo"
        )
    return [("undo", (), word)]


def _merge(words: Sequence[str], known: References) -> list[Line]:
    groups = list(dict.fromkeys(known.group(word) for word in words))
    if len(groups) < 2:
        raise InputError(f"merge takes two groups, and {' and '.join(words)} are one already", code="same-group")
    # The first group gives the name and the number: one with a name of its own, where there is one.
    groups.sort(key=lambda group: is_provisional(known.table.names.get(group, provisional_name(0))))
    return in_lines("merge", [path for group in groups for path in _all_of(known, group)])


def _split(words: Sequence[str], known: References) -> list[Line]:
    group = known.group(words[0])
    rows = list(dict.fromkeys(known.image(word) for word in words[1:]))
    _require_inside(rows, group, known)
    rest = known.surest(group, without=rows)
    if rest is None:
        raise InputError(
            f"these are all images of group {words[0]}, so that nothing would be left of it; name fewer",
            code="whole-group",
        )
    return in_lines("split", [known.table.paths[row] for row in rows], str(rest))


def _move(words: Sequence[str], known: References) -> list[Line]:
    *images, where = words
    rows = list(dict.fromkeys(known.image(word) for word in images))
    target = NO_GROUP if where in (NOWHERE, NEW) else known.group(where)
    there = [row for row in rows if where != NEW and int(known.table.group[row]) == target]
    if there:
        raise InputError(
            f"{known.table.paths[there[0]]} is in {'no group' if target == NO_GROUP else f'group {where}'} already",
            code="same-group",
        )
    paths = [known.table.paths[row] for row in rows]
    by_source: dict[int, list[int]] = {}
    for row in rows:
        by_source.setdefault(int(known.table.group[row]), []).append(row)
    anchors = {group: known.surest(group, without=rows) for group in by_source if group != NO_GROUP}
    if where == NEW:
        first = next((anchor for anchor in anchors.values() if anchor is not None), None)
        lines = in_lines("split", paths, "" if first is None else str(first))
    else:
        lines = in_lines("move", paths, "" if target == NO_GROUP else str(_surest(known, target)))
    for group, anchor in anchors.items():
        # Images that are moved to one group are one object: one of them is enough.
        moved = by_source[group] if where == NOWHERE else by_source[group][:1]
        lines += [("deny", (known.table.paths[row], anchor), "") for row in moved if anchor is not None]
    return lines


def _confirm(words: Sequence[str], known: References) -> list[Line]:
    lines = []
    for group in dict.fromkeys(known.group(word) for word in words):
        lines += in_lines("confirm", _all_of(known, group))
    return lines


def _name(words: Sequence[str], known: References) -> list[Line]:
    group, name = known.group(words[0]), " ".join(words[1].split())
    if not name or is_placeholder(name) or name in (NOWHERE, NEW):
        raise InputError(
            f"{words[1]!r} means an unknown object or no group, and cannot be a name; give another one",
            code="not-a-name",
        )
    if known.table.names.get(group) == name:
        raise InputError(f"group {words[0]} has the name {name} already", code="same-group")
    rows = known.members(group)
    lines: list[Line] = []
    for other, held in known.table.names.items():
        if held == name:
            lines += in_lines("merge", [*_all_of(known, other), *_all_of(known, group)])
            rows += known.members(other)
    return lines + in_lines("name", [known.table.paths[row] for row in rows], name)


def _deny(words: Sequence[str], known: References) -> list[Line]:
    first, second = (_group_or_image(word, known) for word in words)
    if first == second:
        raise InputError(f"deny takes two groups or two images, and {words[0]} is given twice", code="same-group")
    return [("deny", (first, second), "")]


def _group_or_image(word: str, known: References) -> Path:
    """The surest image of a group, or an image."""
    try:
        return _surest(known, known.group(word))
    except InputError as no_group:
        if no_group.code != "no-such-group" or ("." not in word and "/" not in word):
            raise
        return known.table.paths[known.image(word)]


def _surest(known: References, group: int) -> Path:
    path = known.surest(group)
    if path is None:
        raise AssertionError("a group has an image")
    return path


def _all_of(known: References, group: int) -> list[Path]:
    return [known.table.paths[row] for row in known.members(group)]


def _require_inside(rows: Sequence[int], group: int, known: References) -> None:
    outside = [row for row in rows if int(known.table.group[row]) != group]
    if outside:
        number = int(known.table.group[outside[0]])
        place = "no group" if number == NO_GROUP else f"group {known.table.label(number)}"
        raise InputError(
            f"{known.table.paths[outside[0]]} is in {place}, not in group {known.table.label(group)}",
            code="other-group",
        )


_USAGE = {
    "merge": ("two or more groups: merge 3 7", 2, 0),
    "split": ("a group and images of it: split 3 a.jpg b.jpg", 2, 0),
    "move": ("images and a group, none or new: move a.jpg 3", 2, 0),
    "confirm": ("one or more groups: confirm 3", 1, 0),
    "name": ("a group and a name: name 3 Bella", 2, 2),
    "deny": ("two groups or two images that are not one object: deny 3 7", 2, 2),
    "undo": ("the number of a correction, or nothing for the last one: undo 12", 0, 1),
}
"""For each action its words for an error, and the smallest and largest number of them (0: any)."""

_MAKERS: dict[str, Callable[[Sequence[str], References], list[Line]]] = {
    "merge": _merge,
    "split": _split,
    "move": _move,
    "confirm": _confirm,
    "name": _name,
    "deny": _deny,
}
