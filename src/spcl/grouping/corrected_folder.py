"""What a folder of groups shows after corrections: the picture, and the folders of the groups."""

from __future__ import annotations

from pathlib import Path

from spcl.atomic_files import written_aside
from spcl.corrections.corrected_groups import CorrectedGroups, read_groups, write_corrected
from spcl.corrections.corrections_file import alone
from spcl.grouping.group_folders import replace_group_folders
from spcl.grouping.groups_folder import FOLDERS, PICTURE, sheet_rows
from spcl.records import Record
from spcl.report.sheet import contact_sheet


def draw_groups(groups: CorrectedGroups) -> Path | None:
    """Draw the picture of the largest groups again.

    Returns:
        The picture; None if no image can be read.

    Raises:
        InputError: If it cannot be written.
    """
    table = groups.table
    rows = sheet_rows([Record(path) for path in table.paths], table.group, table.confidence, table.names)
    if not rows:
        return None
    with written_aside(groups.folder / PICTURE) as aside:
        contact_sheet(aside, rows)
    return groups.folder / PICTURE


def apply_corrections(folder: str | Path) -> CorrectedGroups:
    """Write the table, the picture and, where they are there, the folders of the groups again, from the corrections.

    For a file of corrections that was edited by hand, and to drop changes of ``groups.csv``.

    Raises:
        InputError: If it is no folder of groups, or a file cannot be read or written.
    """
    where = Path(folder)
    read_groups(where)
    with alone(where):
        groups = read_groups(where)
        write_corrected(groups)
    draw_groups(groups)
    if has_folders(groups):
        records = [Record(path) for path in groups.table.paths]
        first = next((path for path in (where / FOLDERS).rglob("*") if path.is_symlink() or path.is_file()), None)
        copies = first is not None and not first.is_symlink()
        replace_group_folders(where / FOLDERS, records, groups.table.group, groups.table.names, copies=copies)
    return groups


def has_folders(groups: CorrectedGroups) -> bool:
    """Whether there is a folder for each group, which corrections alone do not change."""
    return (groups.folder / FOLDERS).is_dir()
