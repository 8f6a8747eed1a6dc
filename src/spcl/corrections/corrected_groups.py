"""The groups of a folder with their corrections, and a correction as a function.

``groups.csv`` is the table after corrections; ``groups_found.csv`` is the table as the groups were found;
``summary.json`` has the digest of what was written, so that an edit in a spreadsheet is not overwritten without notice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from spcl.corrections.actions import Line, lines_of
from spcl.corrections.correction import Correction
from spcl.corrections.corrections_file import (
    CORRECTIONS,
    CorrectionLog,
    alone,
    append_corrections,
    read_corrections,
)
from spcl.corrections.folder_state import STATE, digest, number_grouped_with, read_summary, update_summary
from spcl.corrections.group_table import (
    FOUND,
    NO_GROUP,
    TABLE,
    GroupTable,
    read_group_table,
    write_both_tables,
    write_group_table,
)
from spcl.corrections.references import References
from spcl.corrections.replay import Replayed, replay
from spcl.data.image_files import what_is_there
from spcl.data.image_key import image_keys
from spcl.errors import InputError


@dataclass(frozen=True)
class CorrectedGroups:
    """Groups of a folder of ``spcl cluster``, with all corrections applied.

    Attributes:
        folder: The folder.
        found: The groups as they were found.
        table: The groups after corrections.
        log: The corrections.
        replayed: What the corrections say about these images.
        grouped_with: Number of the last correction that the grouping itself took into account; 0: none.
    """

    folder: Path
    found: GroupTable
    table: GroupTable
    log: CorrectionLog
    replayed: Replayed
    grouped_with: int = 0

    @cached_property
    def references(self) -> References:
        """Finds groups and images by the words of a user."""
        return References(self.table, self.replayed.by_hand)

    @property
    def has_corrections(self) -> bool:
        """Whether there are corrections, or the folder was corrected before."""
        return bool(self.log.corrections) or (self.folder / FOUND).exists()

    @property
    def notes(self) -> tuple[str, ...]:
        """Remarks about the file of corrections and contradictions in it, in sentences."""
        return (*self.log.notes, *self.replayed.usage.notes)

    def to_dict(self) -> dict[str, Any]:
        """Give the groups and the corrections as plain values: the largest group first."""
        sizes = self.references.sizes
        return {
            "folder": str(self.folder),
            "images": len(self.table.paths),
            "images_without_group": int((self.table.group == NO_GROUP).sum()),
            "groups": [
                {
                    "group": number,
                    "name": self.table.names.get(number),
                    "images": sizes[number],
                    "by_hand": int(self.replayed.by_hand[self.table.group == number].sum()),
                    "surest": str(self.references.surest(number)),
                }
                for number in sorted(sizes, key=lambda number: (-sizes[number], number))
            ],
            "corrections": self.counts(),
            "notes": list(self.notes),
        }

    def counts(self) -> dict[str, int]:
        """Give how many corrections are used, undone and about images that are not here."""
        usage = self.replayed.usage
        return {"used": usage.used, "undone": usage.undone, "missing": usage.missing}


@dataclass(frozen=True)
class CorrectionResult:
    """A correction that was made.

    Attributes:
        lines: The lines that were added to ``corrections.csv``; empty: none.
        before: The groups before it.
        after: The groups after it.
    """

    lines: tuple[Correction, ...]
    before: CorrectedGroups
    after: CorrectedGroups

    @property
    def number(self) -> int | None:
        """The number of the correction; None: nothing was added."""
        return self.lines[0].number if self.lines else None

    def changes(self) -> list[str]:
        """Describe the groups that became others, one in a line."""
        old, new = self.before, self.after
        sizes, now = old.references.sizes, new.references.sizes
        described = []
        for number in sorted(sizes.keys() | now.keys()):
            label = new.table.label(number) if number in now else old.table.label(number)
            called = f"group {number}" if label == str(number) else f"group {number} ({label})"
            if number not in now:
                described.append(f"{called} has no image any more")
            elif number not in sizes:
                described.append(f"{called} is new, with {now[number]} images")
            elif sizes[number] != now[number]:
                described.append(f"{called} has {now[number]} images (before: {sizes[number]})")
            elif old.table.names.get(number) != new.table.names.get(number):
                described.append(f"{called} has {'this' if number in new.table.names else 'no'} name now")
        return described

    def to_dict(self) -> dict[str, Any]:
        """Give the correction and the groups after it as plain values."""
        return {"number": self.number, "changes": self.changes(), **self.after.to_dict()}


def read_groups(folder: str | Path) -> CorrectedGroups:
    """Read the groups of a folder and apply its corrections; nothing is written.

    Raises:
        InputError: If it is no folder of groups, or a file in it cannot be understood.
    """
    where = Path(folder)
    if not (where / TABLE).is_file():
        raise InputError(
            f"there are no groups in {where}: {what_is_there(where)}; expected a folder of spcl cluster, with "
            f"{TABLE} in it",
            code="no-groups",
        )
    found = read_group_table(where / FOUND if (where / FOUND).is_file() else where / TABLE)
    return groups_after(where, found, read_corrections(where / CORRECTIONS), number_grouped_with(where))


def correct(folder: str | Path, action: str, words: Sequence[str] = (), *, who: str = "") -> CorrectionResult:
    """Make a correction: a line is added to ``corrections.csv``, and ``groups.csv`` is written again.

    Args:
        folder: A folder of ``spcl cluster``.
        action: ``merge``, ``split``, ``move``, ``confirm``, ``name``, ``deny`` or ``undo``.
        words: Groups (number or name), images (path or file name), a name or a number of a correction: what the action
            takes, as on the command line.
        who: Who makes it; empty: the user of the system.

    Raises:
        InputError: If a group or an image is not there, nothing would change, ``groups.csv`` was edited in between,
            or a file cannot be written; nothing is changed then.

    Examples:
        ::

            spcl.correct("my_groups", "merge", ["3", "7"])
            spcl.correct("my_groups", "name", ["3", "Bella"], who="Anna")
            spcl.correct("my_groups", "undo")
    """
    where = Path(folder)
    read_groups(where)  # a wrong folder is reported before a lock is made in it
    with alone(where):
        before = read_groups(where)
        return add_lines(before, lines_of(action, words, before.references, before.log), who=who)


def add_lines(
    before: CorrectedGroups, lines: Sequence[Line], *, who: str = "", is_checked: bool = False
) -> CorrectionResult:
    """Add lines as one correction, and write the groups after it. Hold ``alone``.

    Args:
        before: The groups, read while ``alone`` was held.
        lines: Action, subjects and argument of each line; none: nothing is added.
        who: Who makes the correction; empty: the user of the system.
        is_checked: Whether edits of ``groups.csv`` are among the lines, so that they are not lost.

    Raises:
        InputError: If ``groups.csv`` was edited, or a file cannot be written.
    """
    if not is_checked:
        check_unedited(before)
    if not lines:
        return CorrectionResult((), before, before)
    if not (before.folder / FOUND).exists():
        write_group_table(before.folder / FOUND, before.found)
    made = append_corrections(before.folder / CORRECTIONS, before.log, lines, who)
    log = CorrectionLog((*before.log.corrections, *made), before.log.notes)
    after = groups_after(before.folder, before.found, log, before.grouped_with)
    write_corrected(after, is_regrouped=not np.array_equal(before.table.group, after.table.group))
    return CorrectionResult(made, before, after)


def write_corrected(groups: CorrectedGroups, *, is_regrouped: bool) -> None:
    """Write both tables of groups and, in ``summary.json``, what was used; each file is whole or the old one.

    Args:
        groups: The groups.
        is_regrouped: Whether the groups have changed, so that the estimated number of individuals is outdated.

    Raises:
        InputError: If a file cannot be written.
    """
    write_both_tables(groups.folder, groups.table)
    update_summary(groups.folder, state_of(groups, groups.folder / TABLE), is_regrouped=is_regrouped)


def state_of(groups: CorrectedGroups, table: Path) -> dict[str, Any]:
    """Give the part of ``summary.json`` about corrections, with the digest of the table that was written."""
    return {
        STATE: {
            **groups.counts(),
            "grouped_with": groups.grouped_with,
            "groups": len(groups.references.sizes),
            "images_without_group": int((groups.table.group == NO_GROUP).sum()),
            "table": digest(table),
        }
    }


def check_unedited(groups: CorrectedGroups) -> None:
    """Raise an ``InputError`` if ``groups.csv`` holds other groups than the corrections give: an edit would be lost."""
    state = read_summary(groups.folder).get(STATE)
    if not (groups.folder / FOUND).exists():
        return
    if isinstance(state, Mapping) and state.get("table") == digest(groups.folder / TABLE):
        return
    # The first correction may have been killed before it changed the table.
    written = (groups,) if isinstance(state, Mapping) else (groups, replace(groups, table=groups.found))
    number = min(len(edited_rows(each, read_group_table(groups.folder / TABLE))) for each in written)
    if number:
        raise InputError(
            f"{groups.folder / TABLE} was changed by another program: {number} images have another group than the "
            f"corrections give. Take its groups as corrections: spcl correct {groups.folder} table "
            f"{groups.folder / TABLE}; or write the table again without them: spcl correct {groups.folder} apply",
            code="groups-edited",
        )


def edited_rows(groups: CorrectedGroups, edited: GroupTable) -> list[int]:
    """Give the rows of images that have another group or another name in an edited table than after corrections."""
    row_of = {key: row for row, key in enumerate(image_keys(groups.table.paths))}
    found = []
    for at, key in enumerate(image_keys(edited.paths)):
        row = row_of.get(key)
        if row is None:
            continue
        number, now = int(edited.group[at]), int(groups.table.group[row])
        if number != now or edited.names.get(number) != groups.table.names.get(now):
            found.append(row)
    return found


def groups_after(folder: Path, found: GroupTable, log: CorrectionLog, grouped_with: int) -> CorrectedGroups:
    """Apply corrections to the groups of a folder.

    Args:
        folder: The folder.
        found: The groups as they were found.
        log: The corrections.
        grouped_with: Number of the last correction that the grouping took into account; 0: none.
    """
    replayed = replay(log, found.paths, found.group, grouped_with=grouped_with)
    if not found.names:
        return CorrectedGroups(folder, found, replayed.table(found), log, replayed, grouped_with)
    # Names that the table itself has, as after an identification; what a person has said later comes first.
    taken = set(replayed.names.values())
    own = {
        number: name
        for number, name in found.names.items()
        if name not in taken and np.any(replayed.group[found.group == number] == number)
    }
    table = replayed.table(found)
    table = GroupTable(table.paths, table.group, table.confidence, own | dict(replayed.names))
    return CorrectedGroups(folder, found, table, log, replayed, grouped_with)
