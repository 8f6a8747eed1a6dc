"""An edited table of groups, for example from a spreadsheet, as corrections."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from spcl.corrections.actions import Line
from spcl.corrections.corrected_groups import CorrectedGroups, CorrectionResult, add_lines, edited_rows, read_groups
from spcl.corrections.correction import in_lines
from spcl.corrections.corrections_file import alone
from spcl.corrections.group_table import NO_GROUP, TABLE, GroupTable, read_group_table
from spcl.data.image_key import image_keys


def take_table(folder: str | Path, table: str | Path, *, who: str = "") -> CorrectionResult:
    """Make one correction of all differences between an edited table and the groups of a folder.

    An image with another group is moved to it; images with a new number or a new text are a new group; a text is a
    name. Images that the edited table does not list are not changed.

    Args:
        folder: A folder of ``spcl cluster``.
        table: The edited table, with the columns ``path`` and ``group``, and ``identity`` for names.
        who: Who makes the correction; empty: the user of the system.

    Raises:
        InputError: If the table or the folder cannot be read, or a file cannot be written.
    """
    where = Path(folder)
    read_groups(where)
    with alone(where):
        before = read_groups(where)
        lines = lines_of_table(before, read_group_table(Path(table)))
        return add_lines(before, lines, who=who, is_checked=Path(table).resolve() == (where / TABLE).resolve())


def lines_of_table(groups: CorrectedGroups, edited: GroupTable) -> list[Line]:
    """Give the lines of corrections that turn groups into those of an edited table."""
    row_of = {key: row for row, key in enumerate(image_keys(groups.table.paths))}
    listed = [row_of.get(key, -1) for key in image_keys(edited.paths)]
    wanted: dict[int, list[int]] = {}
    for at, row in enumerate(listed):
        if row >= 0:
            wanted.setdefault(int(edited.group[at]), []).append(row)
    changed = set(edited_rows(groups, edited))
    lines: list[Line] = []
    for number, rows in wanted.items():
        name = edited.names.get(number, "")
        moved = [row for row in rows if row in changed and int(groups.table.group[row]) != number]
        if number == NO_GROUP:
            lines += _moves(groups, moved, "")
            continue
        stayed = [row for row in rows if int(groups.table.group[row]) == number]
        target = _group_called(groups, name) if name else number if stayed else None
        if target is None:
            if _is_a_whole_group(groups, moved):
                target = int(groups.table.group[moved[0]])
            elif moved:
                lines += _new_group(groups, moved, changed)
        moved = [row for row in moved if target is not None and int(groups.table.group[row]) != target]
        if moved and target is not None:
            anchor = groups.references.surest(target, without=tuple(changed)) or groups.references.surest(target)
            lines += _moves(groups, moved, str(anchor))
        if name and any(groups.table.names.get(int(groups.table.group[row])) != name for row in rows):
            lines += in_lines("name", [groups.table.paths[row] for row in rows], name)
    return lines


def _moves(groups: CorrectedGroups, rows: Sequence[int], anchor: str) -> list[Line]:
    return in_lines("move", [groups.table.paths[row] for row in rows], anchor) if rows else []


def _group_called(groups: CorrectedGroups, name: str) -> int | None:
    return next((number for number, held in groups.table.names.items() if held == name), None)


def _is_a_whole_group(groups: CorrectedGroups, rows: Sequence[int]) -> bool:
    """Whether rows are exactly the images of one group, whose number a spreadsheet has changed."""
    numbers = {int(groups.table.group[row]) for row in rows}
    return len(numbers) == 1 and NO_GROUP not in numbers and groups.references.sizes[min(numbers)] == len(rows)


def _new_group(groups: CorrectedGroups, rows: Sequence[int], changed: Collection[int]) -> list[Line]:
    """Lines that make a group of images: those of the first image's group leave it, the others join them."""
    number = int(groups.table.group[rows[0]])
    together = [row for row in rows if int(groups.table.group[row]) == number]
    left = None if number == NO_GROUP else groups.references.surest(number, without=tuple(changed))
    lines = in_lines("split", [groups.table.paths[row] for row in together], str(left or ""))
    others = [row for row in rows if int(groups.table.group[row]) != number]
    return lines + _moves(groups, others, str(groups.table.paths[together[0]]))
