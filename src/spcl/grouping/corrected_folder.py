"""What a folder of groups shows after corrections: the picture, and the folders of the groups."""

from __future__ import annotations

from pathlib import Path

from spcl.atomic_files import written_aside
from spcl.corrections.corrected_groups import CorrectedGroups, read_groups, write_corrected
from spcl.corrections.corrections_file import alone
from spcl.corrections.folder_state import INDIVIDUALS, OUTDATED, digest, read_summary, update_summary
from spcl.corrections.group_table import TABLE
from spcl.grouping.group_folders import replace_group_folders
from spcl.grouping.groups_folder import FOLDERS, PICTURE, sheet_rows
from spcl.records import Record
from spcl.report.sheet import contact_sheet
from spcl.reporting.console import Reporter
from spcl.reporting.quiet_reporters import LoggingReporter


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


def apply_corrections(folder: str | Path, *, report: Reporter | None = None) -> CorrectedGroups:
    """Write the table, the picture and, where they are there, the folders of the groups again, from the corrections.

    For a file of corrections that was edited by hand, and to drop changes of ``groups.csv``. Where there was an
    estimate of the number of individuals, it is made again. Without corrections nothing is written.

    Args:
        folder: A folder of ``spcl cluster``.
        report: Receives progress and warnings; None: they go to the log.

    Raises:
        InputError: If it is no folder of groups, or a file cannot be read or written.
    """
    where, report = Path(folder), report or LoggingReporter()
    if not read_groups(where).has_corrections:
        return read_groups(where)
    with alone(where):
        groups = read_groups(where)
        write_corrected(groups, is_regrouped=True)
        written = digest(where / TABLE)
    draw_groups(groups)
    _renew_individuals(groups, written, report)
    if has_folders(groups):
        records = [Record(path) for path in groups.table.paths]
        first = next((path for path in (where / FOLDERS).rglob("*") if path.is_symlink() or path.is_file()), None)
        copies = first is not None and not first.is_symlink()
        replace_group_folders(where / FOLDERS, records, groups.table.group, groups.table.names, copies=copies)
    return groups


def _renew_individuals(groups: CorrectedGroups, written: str, report: Reporter) -> None:
    """Estimate the number of individuals again if there was an estimate, unless the table was written again."""
    if not read_summary(groups.folder).get(OUTDATED):
        return
    from spcl.grouping.individuals_again import estimated_again

    found = estimated_again(groups, report)
    if found is None:
        return
    report.say(found.words())
    with alone(groups.folder):
        # A correction in between has changed the table: the estimate is not of its groups.
        if digest(groups.folder / TABLE) == written:
            update_summary(groups.folder, {INDIVIDUALS: found.to_dict(), OUTDATED: False})


def is_outdated(groups: CorrectedGroups) -> bool:
    """Whether a correction has changed the groups since the number of individuals was estimated."""
    return bool(read_summary(groups.folder).get(OUTDATED))


def has_folders(groups: CorrectedGroups) -> bool:
    """Whether there is a folder for each group, which corrections alone do not change."""
    return (groups.folder / FOLDERS).is_dir()
