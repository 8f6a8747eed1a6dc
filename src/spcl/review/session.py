"""The groups of a folder as the page shows them, and corrections that come from it. One at a time, in any thread."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from spcl.corrections.actions import Line, lines_of
from spcl.corrections.answers import divide_lines
from spcl.corrections.corrected_groups import CorrectedGroups, add_lines, read_groups
from spcl.corrections.corrections_file import alone
from spcl.corrections.group_table import NO_GROUP
from spcl.errors import InputError

NUM_SHOWN = 8
"""Images of a group in the list of groups, the surest ones."""


class ReviewSession:
    """Groups of one folder for one page.

    The files are read again for each answer where another program has changed them.

    Args:
        folder: A folder of ``spcl cluster``.
        who: Who makes the corrections; empty: the user of the system.

    Raises:
        InputError: If it is no folder of groups, or a file in it cannot be understood.
    """

    def __init__(self, folder: str | Path, who: str = "") -> None:
        self.folder, self.who = Path(folder), who
        self._lock = threading.Lock()
        self._state = self._state_of_files()
        self._groups = read_groups(self.folder)
        self._paths = self._groups.table.paths

    @property
    def paths(self) -> tuple[Path, ...]:
        """Path of each image, by row."""
        return self._paths

    def groups(self) -> CorrectedGroups:
        """Give the groups after all corrections, those of other programs included.

        Raises:
            InputError: If the images were grouped again, so that rows and numbers mean others.
        """
        with self._lock:
            return self._read()

    def overview(self) -> dict[str, Any]:
        """Give all groups, with the surest images of each, as plain values."""
        groups = self.groups()
        return {
            "folder": str(self.folder),
            "groups": [summary_of(groups, number) for number in sorted(groups.references.sizes)],
            **_counts(groups),
        }

    def members(self, number: int) -> dict[str, Any]:
        """Give the images of a group, the surest first, as plain values.

        Args:
            number: The group; -1: the images in no group.

        Raises:
            InputError: If there is no such group.
        """
        groups = self.groups()
        if number != NO_GROUP and number not in groups.references.sizes:
            raise InputError(f"there is no group {number} any more", code="no-such-group")
        table, by_hand = groups.table, groups.replayed.by_hand
        return {
            "number": number,
            "name": table.names.get(number),
            "images": [
                {
                    "row": row,
                    "file": table.paths[row].name,
                    "path": str(table.paths[row]),
                    "confidence": round(float(table.confidence[row]), 3),
                    "by_hand": bool(by_hand[row]),
                }
                for row in groups.references.members(number)
            ],
        }

    def correct(self, action: str, words: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Make a correction.

        Args:
            action: As of ``spcl.correct``.
            words: What it is about: ``{"group": 3}``, ``{"row": 17}`` or ``{"text": "Bella"}``.

        Returns:
            What changed, in sentences, and the groups that changed, as plain values.

        Raises:
            InputError: If it cannot be made; nothing is changed then.
        """
        texts = [self._word(word) for word in words]
        return self._added(lambda before: lines_of(action, texts, before.references, before.log))

    def link(self, action: str, first: int, second: int) -> dict[str, Any]:
        """Say of two images that they show one object (``merge``) or two (``deny``); results as of ``correct``."""
        pair = Path(self._word({"row": first})), Path(self._word({"row": second}))
        return self._added(lambda before: [(action, pair, "")])

    def divide(self, first: int, second: int, part: Sequence[int]) -> dict[str, Any]:
        """Say of two images of one group that they show two objects; the images of a part leave with the first one."""
        rows = [first, *(row for row in part if row != first)]
        images = [Path(self._word({"row": row})) for row in rows]
        other = Path(self._word({"row": second}))
        return self._added(lambda before: divide_lines(images, other))

    def _added(self, lines: Callable[[CorrectedGroups], Sequence[Line]]) -> dict[str, Any]:
        with self._lock, alone(self.folder):
            # What spcl.correct does, with the groups that are known already: the page does not wait for 20,000 rows.
            before = self._read()
            result = add_lines(before, lines(before), who=self.who)
            self._state, self._groups = self._state_of_files(), result.after
        return {"correction": result.number, "changes": result.changes(), **changed_groups(before, result.after)}

    def _word(self, word: Mapping[str, Any]) -> str:
        number = word.get("group", word.get("row"))
        if number is None:
            return str(word.get("text", ""))
        if not isinstance(number, int):
            raise InputError(f"{number!r} is no number of a group or an image", code="invalid-parameter")
        if "group" in word:
            return f"group:{number}"
        if not 0 <= number < len(self._paths):
            raise InputError(f"there is no image {number}", code="no-such-image")
        return str(self._paths[number])

    def _read(self) -> CorrectedGroups:
        state = self._state_of_files()
        if state != self._state:
            groups = read_groups(self.folder)
            if groups.table.paths != self._paths:
                raise InputError(
                    f"the images in {self.folder} were grouped again by another program; load this page again",
                    code="grouped-again",
                )
            self._state, self._groups = state, groups
        return self._groups

    def _state_of_files(self) -> tuple[tuple[int, int], ...]:
        """Time and size of the files that groups are made from."""
        found = []
        for name in ("groups.csv", "groups_found.csv", "corrections.csv"):
            try:
                stat = (self.folder / name).stat()
                found.append((stat.st_mtime_ns, stat.st_size))
            except OSError:
                found.append((0, 0))
        return tuple(found)

    def reload(self) -> None:
        """Take in a folder that was grouped again; a page that is loaded calls it."""
        with self._lock:
            self._state = self._state_of_files()
            self._groups = read_groups(self.folder)
            self._paths = self._groups.table.paths


def changed_groups(before: CorrectedGroups, after: CorrectedGroups) -> dict[str, Any]:
    """Give the groups that differ, as plain values, and the numbers of those that are gone."""
    old, new = before.references.sizes, after.references.sizes
    moved = before.table.group != after.table.group
    touched = {*before.table.group[moved].tolist(), *after.table.group[moved].tolist()}
    touched |= {n for n in old.keys() | new.keys() if before.table.names.get(n) != after.table.names.get(n)}
    touched |= set(after.table.group[before.replayed.by_hand != after.replayed.by_hand].tolist())
    return {
        "changed": [summary_of(after, number) for number in sorted(touched & new.keys())],
        "removed": sorted((touched - new.keys()) - {NO_GROUP}),
        **_counts(after),
    }


def summary_of(groups: CorrectedGroups, number: int) -> dict[str, Any]:
    """Give a group as plain values, with the rows of its surest images."""
    rows = groups.references.members(number)
    confidence = groups.table.confidence[rows]
    return {
        "number": number,
        "name": groups.table.names.get(number),
        "size": len(rows),
        "rows": rows[:NUM_SHOWN],
        "confidence": round(float(confidence.mean()), 3),
        "least": round(float(confidence.min()), 3),
        "by_hand": int(groups.replayed.by_hand[rows].sum()),
    }


def _counts(groups: CorrectedGroups) -> dict[str, Any]:
    return {
        "images": len(groups.table.paths),
        "ungrouped": int((groups.table.group == NO_GROUP).sum()),
        "corrections": groups.counts(),
        "can_undo": bool(groups.log.active),
        "notes": list(groups.notes),
    }
